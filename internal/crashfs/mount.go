package crashfs

import (
	"context"
	"os"
	"slices"
	"strings"
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

	cached uint32 // how it is opened: what is mapped needs the kernel's cache, what is not is read from here each time
	data   []byte // under the lock of the disk
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
	of, errno := d.disk.create(MakingDir, d.of, called)
	if errno != 0 {
		return nil, errno
	}
	return d.NewPersistentInode(ctx, &directory{disk: d.disk, of: of}, fs.StableAttr{Mode: syscall.S_IFDIR, Ino: uint64(of)}), 0
}

// Create implements fs.NodeCreater.
func (d *directory) Create(ctx context.Context, called string, _, _ uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	of, errno := d.disk.create(Creating, d.of, called)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	f := &file{disk: d.disk, of: of, cached: fuse.FOPEN_DIRECT_IO}
	if strings.HasSuffix(called, "-shm") {
		f.cached = fuse.FOPEN_KEEP_CACHE
	}
	return d.NewPersistentInode(ctx, f, fs.StableAttr{Mode: syscall.S_IFREG, Ino: uint64(of)}), nil, f.cached, 0
}

// Unlink implements fs.NodeUnlinker.
func (d *directory) Unlink(_ context.Context, called string) syscall.Errno {
	return d.disk.do(Removing, op{names: []name{{d.of, called, 0}}})
}

// Rmdir implements fs.NodeRmdirer.
func (d *directory) Rmdir(_ context.Context, called string) syscall.Errno {
	if child := d.GetChild(called); child != nil && len(child.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return d.disk.do(Removing, op{names: []name{{d.of, called, 0}}})
}

// Rename implements fs.NodeRenamer.
func (d *directory) Rename(_ context.Context, called string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	return d.disk.do(Renaming, op{names: []name{{d.of, called, 0}, {number(to), newName, number(d.GetChild(called).Operations())}}})
}

// Fsync implements fs.NodeFsyncer.
func (d *directory) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return d.disk.do(SyncingDir, op{of: d.of})
}

// Open implements fs.NodeOpener.
func (f *file) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, f.cached, 0
}

// Read implements fs.NodeReader.
func (f *file) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.fails(Reading); errno != 0 {
		return nil, errno
	}
	if off > int64(len(f.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, f.data[off:])]), 0
}

// Write implements fs.NodeWriter.
func (f *file) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	what := Writing
	if off+int64(len(data)) > int64(len(f.data)) {
		what = Growing
	}
	if errno := f.apply(what, op{of: f.of, data: slices.Clone(data), at: off}); errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

// apply changes the octets. The lock of the disk must be held.
func (f *file) apply(what Operation, o op) syscall.Errno {
	if errno := f.disk.fails(what); errno != 0 {
		return errno
	}
	f.data = changed(f.data, o)
	f.disk.log = append(f.disk.log, o)
	return 0
}

// Fsync implements fs.NodeFsyncer.
func (f *file) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return f.disk.do(Syncing, op{of: f.of})
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
		if errno := f.truncate(int64(size)); errno != 0 {
			return errno
		}
	}
	return f.Getattr(ctx, h, out)
}

func (f *file) truncate(size int64) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.apply(Truncating, op{of: f.of, truncate: true, at: size})
}
