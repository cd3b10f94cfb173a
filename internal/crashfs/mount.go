package crashfs

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount mounts an empty disk until the test ends. The test is skipped where
// FUSE or the rights are missing, and fails where they are required.
//
// Files may be mapped into memory, by other processes only: a thread that waits
// for a page cannot be stopped, and the garbage collector of the process that
// has to bring the page would wait for it.
func Mount(t testing.TB) *Disk {
	t.Helper()
	d := newDisk(t.TempDir())
	server, err := fs.Mount(d.dir, &directory{disk: d, of: root}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, DisableXAttrs: true, FsName: "crashfs"},
	})
	if err != nil {
		if os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != "" {
			t.Fatalf("FUSE is required, and root: %v", err)
		}
		t.Skipf("SKIPPED: needs FUSE and root: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return d
}

type directory struct {
	fs.Inode
	disk *Disk
	of   inode
}

type file struct {
	fs.Inode
	disk *Disk
	of   inode
	data []byte // under the lock of the disk
}

func number(e fs.InodeEmbedder) inode {
	switch e := e.(type) {
	case *directory:
		return e.of
	case *file:
		return e.of
	}
	return 0
}

// Mkdir implements fs.NodeMkdirer.
func (d *directory) Mkdir(ctx context.Context, called string, _ uint32, _ *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	of := d.disk.create(d.of, called, true)
	return d.NewPersistentInode(ctx, &directory{disk: d.disk, of: of}, fs.StableAttr{Mode: syscall.S_IFDIR, Ino: uint64(of)}), 0
}

// Create implements fs.NodeCreater.
func (d *directory) Create(ctx context.Context, called string, _, _ uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	of := d.disk.create(d.of, called, false)
	return d.NewPersistentInode(ctx, &file{disk: d.disk, of: of}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: uint64(of)}), nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Unlink implements fs.NodeUnlinker.
func (d *directory) Unlink(_ context.Context, called string) syscall.Errno {
	d.disk.rename(name{d.of, called, 0})
	return 0
}

// Rmdir implements fs.NodeRmdirer.
func (d *directory) Rmdir(_ context.Context, called string) syscall.Errno {
	if child := d.GetChild(called); child != nil && len(child.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	d.disk.rename(name{d.of, called, 0})
	return 0
}

// Rename implements fs.NodeRenamer.
func (d *directory) Rename(_ context.Context, called string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	d.disk.rename(name{d.of, called, 0}, name{number(to), newName, number(d.GetChild(called).Operations())})
	return 0
}

// Fsync implements fs.NodeFsyncer.
func (d *directory) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	d.disk.sync(d.of)
	return 0
}

// Open implements fs.NodeOpener.
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader.
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off > int64(len(f.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, f.data[off:])]), 0
}

// Write implements fs.NodeWriter.
func (f *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.apply(op{of: f.of, data: slices.Clone(data), at: off})
	return uint32(len(data)), 0
}

func (f *file) apply(o op) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.data = changed(f.data, o)
	f.disk.record(o)
}

// Fsync implements fs.NodeFsyncer.
func (f *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.sync(f.of)
	return 0
}

// Getattr implements fs.NodeGetattrer.
func (f *file) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	out.Size = uint64(len(f.data))
	return 0
}

// Setattr implements fs.NodeSetattrer. Owners, modes and times are not kept.
func (f *file) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		f.apply(op{of: f.of, truncate: true, at: int64(size)})
	}
	return f.Getattr(ctx, h, out)
}
