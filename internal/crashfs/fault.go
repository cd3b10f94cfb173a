package crashfs

import "syscall"

// An Operation is a kind of what is asked of a disk.
type Operation int

// The operations that can fail.
const (
	Reading    Operation = iota
	Writing              // within a file
	Growing              // a write that makes a file larger
	Truncating           // to any size
	Syncing              // of a file
	SyncingDir           // of a directory
	Creating             // of a file
	MakingDir
	Renaming
	Removing // of a file or a directory
)

// String names an operation as its system call.
func (o Operation) String() string {
	return [...]string{"read", "write", "growing write", "truncate", "fsync", "fsync of a directory", "create", "mkdir", "rename", "unlink"}[o]
}

// Interfere asks fault about every operation from now on, one at a time. An
// operation for which it returns an error number fails with that and has no
// effect; an fsync that fails keeps nothing. A nil fault ends it.
func (d *Disk) Interfere(fault func(Operation) syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// fails asks the fault about an operation. The lock must be held.
func (d *Disk) fails(o Operation) syscall.Errno {
	if d.fault == nil {
		return 0
	}
	return d.fault(o)
}
