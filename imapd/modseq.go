package imapd

import (
	"slices"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// maxVanished bounds the ranges of one VANISHED response, so that no line is
// longer than clients read.
const maxVanished = 500

// appendModSeq appends a modseq as FETCH shows it (RFC 7162 section 7, fetch-mod-resp).
func appendModSeq(b []byte, m storage.ModSeq) []byte {
	return append(wire.AppendNumber(append(b, '('), int64(m)), ')')
}

// modSeq reads a modseq. A client that names one counts them from now on
// (RFC 7162 section 3.1).
func (c *conn) modSeq() (storage.ModSeq, error) {
	n, err := c.dec.Number64()
	if err == nil {
		c.enableAll(condStore)
	}
	return storage.ModSeq(n), err
}

// tellHighest says up to which modseq the client knows everything. It may be
// lower than one of a FETCH: then messages are gone that it may not be told of yet.
func (c *conn) tellHighest() {
	c.untagged("OK [%s] you know all up to this", highest(c.view.known))
}

// highest is the response code of RFC 7162 section 3.1.2.1.
func highest(m storage.ModSeq) string {
	return string(wire.AppendNumber([]byte("HIGHESTMODSEQ "), int64(m)))
}

// tellVanished sends the UIDs, ascending, of messages that are gone. They are
// earlier ones where the client does not count them among its messages
// (RFC 7162 section 3.2.10).
func (c *conn) tellVanished(uids []storage.UID, earlier bool) {
	var all wire.Ranges
	for _, u := range uids {
		all = all.Add(uint32(u))
	}
	for part := range slices.Chunk(all, maxVanished) {
		c.enc.Raw("* VANISHED ")
		if earlier {
			c.enc.Raw("(EARLIER) ")
		}
		c.enc.Numbers(part)
		c.enc.CRLF()
	}
}

// modSeqOf returns the modseq that a message has in a picture; 0 where it is not there.
func modSeqOf(x *storage.Index, uid storage.UID) storage.ModSeq {
	if pos, found := x.Search(uid); found {
		return x.At(pos).ModSeq
	}
	return 0
}

// changedSince returns those of the messages, ascending, that changed after a
// modseq. It may overwrite uids.
func (v *view) changedSince(uids []storage.UID, since storage.ModSeq) []storage.UID {
	if len(uids) == 0 {
		return nil
	}
	changed := uids[:0]
	from, _ := v.cur.Search(uids[0])
	v.cur.Slice(from, v.cur.Len(), func(_ int, e storage.Entry) bool {
		for len(uids) > 0 && uids[0] < e.UID {
			uids = uids[1:]
		}
		if len(uids) > 0 && uids[0] == e.UID && e.ModSeq > since {
			changed = append(changed, e.UID)
		}
		return len(uids) > 0
	})
	return changed
}
