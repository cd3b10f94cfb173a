package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sort"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// A large message is a file of zstd frames, each of up to frameSize plain
// bytes and readable without the others. Behind them stands the index, in the
// order of the message (the frame that is written last, the trace fields,
// comes first), and a trailer with the number of frames and a magic number.
//
//	index entry: offset u64, compressed u32, plain u32, SHA-256 of the plain bytes
const (
	frameSize  = 256 << 10
	entrySize  = 8 + 4 + 4 + sha256.Size
	trailerLen = 8 + 8
)

var frameMagic = [8]byte{'m', 'b', 'x', 'b', 'l', 'o', 'b', '1'}

var errFrames = errors.New("file of frames is damaged")

// Both are safe for concurrent use, and hold a coder for each processor.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(frameSize), zstd.WithEncoderDictRaw(dictionaryID, dictionary()))
		if err != nil {
			panic(err) // its options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderDictRaw(dictionaryID, dictionary()))
		if err != nil {
			panic(err)
		}
		return d
	})
)

type frame struct {
	offset     int64 // in the file
	compressed uint32
	plain      uint32
	sum        [sha256.Size]byte
	start      int64 // in the message; not in the file
}

// A frameWriter writes frames one behind the other.
type frameWriter struct {
	f      *os.File
	end    int64
	frames []frame
	buf    []byte
}

func (w *frameWriter) write(plain []byte) error {
	w.buf = encoder().EncodeAll(plain, w.buf[:0])
	if _, err := w.f.Write(w.buf); err != nil {
		return err
	}
	w.frames = append(w.frames, frame{offset: w.end, compressed: uint32(len(w.buf)), plain: uint32(len(plain)), sum: sha256.Sum256(plain)})
	w.end += int64(len(w.buf))
	return nil
}

// lastFirst moves the last frame to the begin of the message.
func (w *frameWriter) lastFirst() {
	last := len(w.frames) - 1
	w.frames = append([]frame{w.frames[last]}, w.frames[:last]...)
}

// finish writes index and trailer.
func (w *frameWriter) finish() error {
	b := make([]byte, 0, len(w.frames)*entrySize+trailerLen)
	for _, f := range w.frames {
		b = binary.BigEndian.AppendUint64(b, uint64(f.offset))
		b = binary.BigEndian.AppendUint32(b, f.compressed)
		b = binary.BigEndian.AppendUint32(b, f.plain)
		b = append(b, f.sum[:]...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(w.frames)))
	b = append(b, frameMagic[:]...)
	_, err := w.f.Write(b)
	return err
}

// digest is the SHA-256 over the digests of the frames: what a blob in a file
// is known by.
func digest(frames []frame) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range frames {
		h.Write(f.sum[:])
	}
	h.Sum(sum[:0])
	return sum
}

// readFrames reads the index of a file.
func readFrames(f *os.File) ([]frame, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var trailer [trailerLen]byte
	if st.Size() < trailerLen {
		return nil, errFrames
	}
	if _, err := f.ReadAt(trailer[:], st.Size()-trailerLen); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint64(trailer[:8])
	if !bytes.Equal(trailer[8:], frameMagic[:]) || n > uint64(st.Size()-trailerLen)/entrySize {
		return nil, errFrames
	}
	data := st.Size() - trailerLen - int64(n)*entrySize
	b := make([]byte, n*entrySize)
	if _, err := f.ReadAt(b, data); err != nil {
		return nil, err
	}
	frames := make([]frame, n)
	var start int64
	for i := range frames {
		e := b[i*entrySize:]
		x := &frames[i]
		x.offset, x.compressed, x.plain, x.start = int64(binary.BigEndian.Uint64(e)), binary.BigEndian.Uint32(e[8:]), binary.BigEndian.Uint32(e[12:]), start
		copy(x.sum[:], e[16:])
		if x.offset < 0 || x.offset+int64(x.compressed) > data || x.plain > frameSize {
			return nil, errFrames
		}
		start += int64(x.plain)
	}
	return frames, nil
}

// A frameReader reads a file of frames at any place. It keeps the frame that
// it read last.
type frameReader struct {
	f      *os.File
	frames []frame
	size   int64

	mu     sync.Mutex
	loaded int // the number of the frame in plain, counted from 1
	plain  []byte
	buf    []byte
}

func newFrameReader(f *os.File, frames []frame) *frameReader {
	r := &frameReader{f: f, frames: frames}
	for i := range frames {
		frames[i].start = r.size
		r.size += int64(frames[i].plain)
	}
	return r
}

// ReadAt implements io.ReaderAt.
func (r *frameReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("offset %d is negative", off)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := sort.Search(len(r.frames), func(i int) bool { return r.frames[i].start+int64(r.frames[i].plain) > off })
	for ; n < len(p) && i < len(r.frames); i++ {
		if err := r.load(i); err != nil {
			return n, err
		}
		n += copy(p[n:], r.plain[off+int64(n)-r.frames[i].start:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// load makes frame i the one in memory.
func (r *frameReader) load(i int) error {
	if r.loaded == i+1 {
		return nil
	}
	f := r.frames[i]
	if cap(r.buf) < int(f.compressed) {
		r.buf = make([]byte, f.compressed)
	}
	r.buf, r.loaded = r.buf[:f.compressed], 0
	if _, err := r.f.ReadAt(r.buf, f.offset); err != nil {
		return fmt.Errorf("frame %d: %w", i, err)
	}
	plain, err := decoder().DecodeAll(r.buf, r.plain[:0])
	if err != nil {
		return fmt.Errorf("frame %d: %w", i, err)
	}
	if len(plain) != int(f.plain) {
		return fmt.Errorf("frame %d: %w", i, errFrames)
	}
	r.plain, r.loaded = plain, i+1
	return nil
}

// check reads all frames and compares them with their digests.
func (r *frameReader) check(h hash.Hash) error {
	for i, f := range r.frames {
		if err := r.load(i); err != nil {
			return err
		}
		if sha256.Sum256(r.plain) != f.sum {
			return fmt.Errorf("frame %d: %w", i, errFrames)
		}
		h.Write(f.sum[:])
	}
	return nil
}
