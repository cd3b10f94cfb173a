// Package crashfs is a file system for tests that remembers all that was done
// to it, and makes directories as a power cut at any moment could have left
// them.
//
// What it takes for granted of a disk and its file system is little:
//
//   - fsync (or fdatasync) of a file keeps all of its octets and its size, and
//     says nothing about its name;
//   - fsync of a directory keeps its names as they are, and says nothing about
//     what is in the files or about the name of the directory itself;
//   - a change of names (create, mkdir, rename, unlink, rmdir) is kept wholly or
//     not at all, a rename in both of its directories;
//   - a sector of 512 octets is written wholly or not at all.
//
// Whatever is not kept by an fsync may be there or not, each change for itself
// and in any order: a later one without an earlier one, a part of the sectors of
// a write, the new size of a file without the octets, which read as zeros then.
package crashfs

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

const sector = 512

// An inode numbers a file or a directory. 0 is none.
type inode uint64

const root inode = 1

// An op is one change of the disk. One that has neither names nor data nor
// truncates is an fsync.
type op struct {
	of       inode
	data     []byte // written at
	at       int64
	truncate bool // to at
	names    []name
}

// A name is what a directory calls an inode from now on.
type name struct {
	dir  inode
	name string
	of   inode // 0: nothing has the name any more
}

// A Disk is a mounted file system with all that was done to it.
type Disk struct {
	dir string

	mu          sync.Mutex
	log         []op
	last        inode
	directories map[inode]bool
	fault       func(Operation) syscall.Errno // nil: nothing fails
}

func newDisk(dir string) *Disk {
	return &Disk{dir: dir, last: root, directories: map[inode]bool{root: true}}
}

// Dir is where it is mounted.
func (d *Disk) Dir() string { return d.dir }

// Len is the number of changes so far. A power cut at n lets the first n of
// them happen.
func (d *Disk) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.log)
}

// A Write is what one write put at the end of a file.
type Write struct {
	End  int // a power cut there or later comes after the write
	Data []byte
}

// Appended returns what was written to a file of the root directory that is
// only appended to. By that a program marks how far it is.
func (d *Disk) Appended(file string) (all []Write) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var of inode
	for i, o := range d.log {
		for _, n := range o.names {
			if n.dir == root && n.name == file {
				of = n.of
			}
		}
		if o.data != nil && o.of == of {
			all = append(all, Write{i + 1, o.data})
		}
	}
	return all
}

// PowerCut fills a directory with what a directory of the disk may be after a
// power cut at n, by the choices of random. The shared memory of SQLite's WAL
// (-shm), which is made anew from the WAL, is left out.
func (d *Disk) PowerCut(n int, random *rand.Rand, from, to string) error {
	d.mu.Lock()
	log := d.log[:n:n]
	d.mu.Unlock()
	s := survived(log, random)
	of := root
	for _, part := range strings.Split(from, "/") {
		of = s.names[of][part]
	}
	return d.write(s, of, to)
}

func (d *Disk) write(s *state, of inode, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for name, child := range s.names[of] {
		path := filepath.Join(to, name)
		var err error
		switch {
		case d.isDirectory(child):
			err = d.write(s, child, path)
		case !strings.HasSuffix(name, "-shm"):
			err = os.WriteFile(path, s.files[child], fs.FileMode(0o600))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) isDirectory(of inode) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.directories[of]
}

// A state is what a disk holds.
type state struct {
	names map[inode]map[string]inode
	files map[inode][]byte
}

// survived is what may be left of a log. How much of what was not kept by an
// fsync is there, from nothing to everything, is chosen for each state.
func survived(log []op, random *rand.Rand) *state {
	synced := map[inode]int{}
	for i, o := range log {
		if o.data == nil && !o.truncate && o.names == nil {
			synced[o.of] = i
		}
	}
	shares := []float64{0, 0.1, 0.5, 0.9, 1}
	names, data := shares[random.IntN(len(shares))], shares[random.IntN(len(shares))]

	s := &state{names: map[inode]map[string]inode{}, files: map[inode][]byte{}}
	for i, o := range log {
		switch {
		case o.names != nil:
			kept := false
			for _, n := range o.names {
				kept = kept || i < synced[n.dir]
			}
			if kept || random.Float64() < names {
				s.name(o.names)
			}
		case i < synced[o.of] || random.Float64() < data:
			s.change(o)
		default:
			s.tear(o, random)
		}
	}
	return s
}

func (s *state) name(names []name) {
	for _, n := range names {
		if s.names[n.dir] == nil {
			s.names[n.dir] = map[string]inode{}
		}
		if n.of == 0 {
			delete(s.names[n.dir], n.name)
		} else {
			s.names[n.dir][n.name] = n.of
		}
	}
}

// change does what was done to a file.
func (s *state) change(o op) {
	s.files[o.of] = changed(s.files[o.of], o)
}

func changed(file []byte, o op) []byte {
	if o.truncate {
		return resize(file, o.at)
	}
	file = resize(file, max(int64(len(file)), o.at+int64(len(o.data))))
	copy(file[o.at:], o.data)
	return file
}

// resize cuts a file, or adds zeros to it.
func resize(file []byte, size int64) []byte {
	if n := int64(len(file)); size > n {
		return append(file, make([]byte, size-n)...)
	}
	return file[:size]
}

// tear does nothing, or a part of a write: its size only, or some of its sectors.
func (s *state) tear(o op, random *rand.Rand) {
	if o.data == nil {
		return
	}
	end := o.at + int64(len(o.data))
	switch random.IntN(3) {
	case 0:
	case 1:
		s.files[o.of] = resize(s.files[o.of], max(int64(len(s.files[o.of])), end))
	case 2:
		for at := o.at; at < end; {
			next := min(at-at%sector+sector, end)
			if random.IntN(2) == 0 {
				s.change(op{of: o.of, at: at, data: o.data[at-o.at : next-o.at]})
			}
			at = next
		}
	}
}

// do notes a change, unless it fails.
func (d *Disk) do(what Operation, change op) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.fails(what); errno != 0 {
		return errno
	}
	d.log = append(d.log, change)
	return 0
}

// create gives a new inode its name.
func (d *Disk) create(what Operation, in inode, called string) (inode, syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.fails(what); errno != 0 {
		return 0, errno
	}
	d.last++
	d.directories[d.last] = what == MakingDir
	d.log = append(d.log, op{names: []name{{in, called, d.last}}})
	return d.last, 0
}
