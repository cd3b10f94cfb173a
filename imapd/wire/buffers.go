package wire

import "sync"

const (
	readSize  = 4 << 10  // octets of a Decoder's buffer
	writeSize = 16 << 10 // octets of an Encoder's buffer: one TLS record
)

// Buffers are the buffers that Decoders and Encoders lend from while they
// have something to hold, and give back while they wait. One Buffers serves
// all connections of a server. The zero value is ready; it must not be copied
// after first use. It is safe for concurrent use.
type Buffers struct {
	read, write sync.Pool
}

func (b *Buffers) getRead() *[readSize]byte {
	if p, ok := b.read.Get().(*[readSize]byte); ok {
		return p
	}
	return new([readSize]byte)
}

// putRead takes a buffer back. It is cleared, since it may hold a password of
// one connection that a bug would show to another.
func (b *Buffers) putRead(p *[readSize]byte) {
	clear(p[:])
	b.read.Put(p)
}

func (b *Buffers) getWrite() *[writeSize]byte {
	if p, ok := b.write.Get().(*[writeSize]byte); ok {
		return p
	}
	return new([writeSize]byte)
}

func (b *Buffers) putWrite(p *[writeSize]byte) { b.write.Put(p) }
