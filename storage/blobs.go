package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// unlinkDelay is how long the file of a blob outlives its row, so that a
// reader that has the row finds the file.
const unlinkDelay = 10 * time.Minute

// blobDirs is how many directories the files are spread over.
const blobDirs = 256

// A blobStore hands out the numbers of blobs and knows the files of the large ones.
type blobStore struct {
	dir  string
	last atomic.Int64

	mu      sync.Mutex
	removed []removedBlob // in the order of their time
}

type removedBlob struct {
	id BlobID
	at time.Time
}

// newBlobStore makes the directories that are missing. Their names are durable
// also where a process made them that was killed before it could see to that.
func newBlobStore(dir string) (*blobStore, error) {
	b := &blobStore{dir: filepath.Join(dir, "blobs")}
	for i := range blobDirs {
		err := os.Mkdir(filepath.Join(b.dir, fmt.Sprintf("%02x", i)), 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return b, errors.Join(syncDir(b.dir), syncDir(dir))
}

// start makes next count on from a number.
func (b *blobStore) start(last BlobID) { b.last.Store(int64(last)) }

// next gives a number that was never given before.
func (b *blobStore) next() BlobID { return BlobID(b.last.Add(1)) }

func (b *blobStore) path(id BlobID) string {
	return filepath.Join(b.dir, fmt.Sprintf("%02x", id%blobDirs), strconv.FormatInt(int64(id), 10))
}

// unlinkLater removes the file of a blob, where it has one, ten minutes from
// now. What is forgotten by a stop before that, the next sweep finds.
func (b *blobStore) unlinkLater(id BlobID) {
	b.mu.Lock()
	b.removed = append(b.removed, removedBlob{id, time.Now()})
	b.mu.Unlock()
}

// sweep removes the files that no row names, once, and
// then what unlinkLater was told, until ctx is done.
func (b *blobStore) sweep(ctx context.Context, exists func(context.Context, []BlobID) (map[BlobID]bool, error)) error {
	highest := BlobID(b.last.Load()) // files above it are being written now
	for i := range blobDirs {
		if err := b.sweepDir(ctx, fmt.Sprintf("%02x", i), highest, exists); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			b.unlinkDue(now)
		}
	}
}

func (b *blobStore) sweepDir(ctx context.Context, name string, highest BlobID, exists func(context.Context, []BlobID) (map[BlobID]bool, error)) error {
	entries, err := os.ReadDir(filepath.Join(b.dir, name))
	if err != nil {
		return err
	}
	var ids []BlobID
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && BlobID(n) <= highest {
			ids = append(ids, BlobID(n))
		}
	}
	there, err := exists(ctx, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !there[id] {
			b.unlinkLater(id)
		}
	}
	return ctx.Err()
}

func (b *blobStore) unlinkDue(now time.Time) {
	b.mu.Lock()
	n := 0
	for n < len(b.removed) && now.Sub(b.removed[n].at) >= unlinkDelay {
		n++
	}
	due := b.removed[:n:n]
	b.removed = b.removed[n:]
	b.mu.Unlock()
	for _, r := range due {
		os.Remove(b.path(r.id)) // most blobs have no file
	}
}

// A Blob is the bytes of a message, open for reading.
type Blob struct {
	io.ReaderAt
	Size int64
	file *os.File
}

// Close must be called when the blob is no longer read.
func (b *Blob) Close() error {
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}

func (b *blobStore) openRow(data []byte, size int64) (*Blob, error) {
	plain, err := decoder().DecodeAll(data, make([]byte, 0, size))
	if err != nil {
		return nil, err
	}
	if int64(len(plain)) != size {
		return nil, fmt.Errorf("has %d bytes instead of %d", len(plain), size)
	}
	return &Blob{ReaderAt: bytes.NewReader(plain), Size: size}, nil
}

func (b *blobStore) openFile(id BlobID, size int64) (*Blob, error) {
	f, err := os.Open(b.path(id))
	if err != nil {
		return nil, err
	}
	frames, err := readFrames(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("blob %d: %w", id, err)
	}
	r := newFrameReader(f, frames)
	if r.size != size {
		f.Close()
		return nil, fmt.Errorf("blob %d: file has %d bytes instead of %d", id, r.size, size)
	}
	return &Blob{ReaderAt: r, Size: size, file: f}, nil
}

// verify reads all of a blob and compares it with its row.
func (b *blobStore) verify(id BlobID, data []byte, size int64, want []byte) error {
	var sum []byte
	if data != nil {
		blob, err := b.openRow(data, size)
		if err != nil {
			return err
		}
		plain := make([]byte, size)
		if _, err := blob.ReadAt(plain, 0); err != nil && err != io.EOF {
			return err
		}
		s := sha256.Sum256(plain)
		sum = s[:]
	} else {
		blob, err := b.openFile(id, size)
		if err != nil {
			return err
		}
		defer blob.Close()
		h := sha256.New()
		if err := blob.ReaderAt.(*frameReader).check(h); err != nil {
			return err
		}
		sum = h.Sum(nil)
	}
	if !bytes.Equal(sum, want) {
		return fmt.Errorf("its bytes are not those that were acknowledged (SHA-256 %x instead of %x)", sum, want)
	}
	return nil
}
