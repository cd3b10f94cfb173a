package imapd

// A huffman is a code of RFC 1951 section 3.2.2: how many codes there are of
// each length, and their symbols in order. It is small rather than fast: what
// clients send is short.
type huffman struct {
	count  [16]uint16
	symbol [maxLitCodes]uint16
}

// What decode and match return in the place of a number of bits.
const (
	tooFew  = -1
	invalid = -2
)

const endOfBlock = 256

// Lengths and distances by their code: the least one, and how many bits add to
// it (RFC 1951 section 3.2.5).
var (
	lengthBase = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}

	distanceBase = [30]uint16{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769,
		1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
	}
	distanceBits = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}

	// codeOrder is the order of the code lengths of the code for code lengths (section 3.2.7).
	codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// set makes the code whose symbols have the given lengths; 0 means that there
// is no such symbol. It reports whether some bits stand for nothing, and
// whether the lengths are possible at all.
func (h *huffman) set(lengths []uint8) (incomplete, possible bool) {
	h.count = [16]uint16{}
	for _, l := range lengths {
		h.count[l]++
	}
	var offset [16]uint16
	left := 1
	for l := 1; l < 16; l++ {
		if left = left<<1 - int(h.count[l]); left < 0 {
			return false, false
		}
		if l < 15 {
			offset[l+1] = offset[l] + h.count[l]
		}
	}
	for s, l := range lengths {
		if l > 0 {
			h.symbol[offset[l]] = uint16(s)
			offset[l]++
		}
	}
	return left > 0, true
}

// decode finds the first code in the lowest n of some bits, and how many it takes.
func (h *huffman) decode(bits uint64, n uint) (symbol, used int) {
	code, first, index := 0, 0, 0
	for l := 1; l < 16; l++ {
		if uint(l) > n {
			return 0, tooFew
		}
		code |= int(bits & 1)
		bits >>= 1
		count := int(h.count[l])
		if code-first < count {
			return int(h.symbol[index+code-first]), l
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, invalid
}

// match decodes a symbol, and the length and distance where it is a match,
// without taking the bits.
func (d *inflater) match() (symbol, length, distance, used int) {
	symbol, used = d.literals.decode(d.bits, d.n)
	if used < 0 || symbol <= endOfBlock {
		return symbol, 0, 0, used
	}
	code := symbol - endOfBlock - 1
	if code >= len(lengthBase) {
		return 0, 0, 0, invalid
	}
	length, used = d.extra(lengthBase[code], lengthBits[code], used)
	if used < 0 {
		return 0, 0, 0, used
	}
	code, n := d.distances.decode(d.bits>>used, d.n-uint(used))
	switch {
	case n < 0:
		return 0, 0, 0, n
	case code >= len(distanceBase):
		return 0, 0, 0, invalid
	}
	distance, used = d.extra(distanceBase[code], distanceBits[code], used+n)
	return symbol, length, distance, used
}

// extra adds the bits behind a code to its base.
func (d *inflater) extra(base uint16, bits uint8, used int) (value, total int) {
	total = used + int(bits)
	if uint(total) > d.n {
		return 0, tooFew
	}
	return int(base) + int(d.bits>>used&(1<<bits-1)), total
}

// fixedCodes are those of RFC 1951 section 3.2.6.
func (d *inflater) fixedCodes() error {
	var lengths [maxLitCodes]uint8
	for s := range lengths {
		switch {
		case s < 144:
			lengths[s] = 8
		case s < 256:
			lengths[s] = 9
		case s < 280:
			lengths[s] = 7
		default:
			lengths[s] = 8
		}
	}
	d.literals.set(lengths[:])
	for s := range len(distanceBase) {
		lengths[s] = 5
	}
	d.distances.set(lengths[:len(distanceBase)])
	d.block = codedBlock
	return nil
}

// dynamicCodes reads the codes of a block (RFC 1951 section 3.2.7).
func (d *inflater) dynamicCodes() error {
	v, err := d.take(14)
	if err != nil {
		return err
	}
	literals, distances, codes := v&31+257, v>>5&31+1, v>>10+4
	if literals > 286 || distances > len(distanceBase) {
		return errDeflate
	}
	var lengths [286 + 30]uint8
	for _, s := range codeOrder[:codes] {
		if v, err = d.take(3); err != nil {
			return err
		}
		lengths[s] = uint8(v)
	}
	if incomplete, possible := d.literals.set(lengths[:len(codeOrder)]); incomplete || !possible {
		return errDeflate
	}
	clear(lengths[:len(codeOrder)])
	if err := d.codeLengths(lengths[:literals+distances]); err != nil {
		return err
	}
	if lengths[endOfBlock] == 0 {
		return errDeflate
	}
	for _, c := range []struct {
		h       *huffman
		lengths []uint8
	}{{&d.literals, lengths[:literals]}, {&d.distances, lengths[literals : literals+distances]}} {
		incomplete, possible := c.h.set(c.lengths)
		// One code of one bit, or none, is let pass: it is what encoders write for one distance, or for none.
		if !possible || incomplete && len(c.lengths) != int(c.h.count[0]+c.h.count[1]) {
			return errDeflate
		}
	}
	d.block = codedBlock
	return nil
}

// codeLengths reads the lengths of both codes, which stand in a code of their own.
func (d *inflater) codeLengths(lengths []uint8) error {
	for i := 0; i < len(lengths); {
		symbol, err := d.symbol()
		if err != nil {
			return err
		}
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		value, bits, least := uint8(0), uint(3), 3
		switch symbol {
		case 16:
			if i == 0 {
				return errDeflate
			}
			value, bits = lengths[i-1], 2
		case 18:
			bits, least = 7, 11
		}
		n, err := d.take(bits)
		if err != nil {
			return err
		}
		if n += least; n > len(lengths)-i {
			return errDeflate
		}
		for ; n > 0; n-- {
			lengths[i] = value
			i++
		}
	}
	return nil
}

// symbol reads one symbol of the code that stands in literals.
func (d *inflater) symbol() (int, error) {
	for {
		d.fill()
		symbol, used := d.literals.decode(d.bits, d.n)
		switch {
		case used == invalid:
			return 0, errDeflate
		case used != tooFew:
			d.drop(uint(used))
			return symbol, nil
		}
		if err := d.more(); err != nil {
			return 0, err
		}
	}
}
