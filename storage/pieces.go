package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// The bytes of a blob in the database are rows of piece. SQLite puts only whole
// rows of up to 4,061 octets on a page of 4,096: of two messages that compress
// to 2,200 octets each would have a page of its own, and half of the database
// would be air. So what is shorter than that comes in pieces, which fill pages
// well. What is longer is one piece, whose begin fills pages of its own.
const (
	pieceSize  = 500
	blobPieces = 8 // of a blob: the piece n of blob b is row b × 8 + n
)

// appendPieces parts the bytes of a blob.
func appendPieces(pieces [][]byte, data []byte) [][]byte {
	if len(data) == 0 || len(data) > blobPieces*pieceSize {
		return append(pieces, data)
	}
	return slices.AppendSeq(pieces, slices.Chunk(data, pieceSize))
}

// insertPieces are the statements that insert so many pieces.
var insertPieces = func() (all [blobPieces + 1]string) {
	for n := range all[1:] {
		all[n+1] = `INSERT INTO piece (id, data) VALUES (?, ?)` + strings.Repeat(", (?, ?)", n)
	}
	return all
}()

// storePieces inserts the bytes of a blob.
func (t *tx) storePieces(id BlobID, data []byte) error {
	var args [2 * blobPieces]any
	n := 0
	for _, piece := range appendPieces(make([][]byte, 0, blobPieces), data) {
		args[2*n], args[2*n+1] = int64(id)*blobPieces+int64(n), piece
		n++
	}
	return t.exec(insertPieces[n], args[:2*n]...)
}

// deletePieces deletes the bytes of a blob, and tells whether there were none:
// then they are in a file.
func (t *tx) deletePieces(id BlobID) (inFile bool, err error) {
	r, err := t.w.result(`DELETE FROM piece WHERE id BETWEEN ? AND ?`, int64(id)*blobPieces, int64(id)*blobPieces+blobPieces-1)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 0, err
}

// selectPieces yields the size of a blob with each of its pieces, or with NULL
// where the bytes are in a file; nothing where there is no such blob.
const selectPieces = `SELECT b.size, length(p.data), p.data FROM blob b LEFT JOIN piece p ON p.id BETWEEN b.id * 8 AND b.id * 8 + 7 WHERE b.id = ? ORDER BY p.id`

// readPieces returns the bytes of a blob as they are stored, nil where they are
// in a file. ErrNotFound: there is no such blob.
func readPieces(ctx context.Context, query *sql.Stmt, id BlobID) (data []byte, size int64, err error) {
	rows, err := query.QueryContext(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	found := false
	for rows.Next() {
		var n sql.NullInt64
		var piece sql.RawBytes
		if err := rows.Scan(&size, &n, &piece); err != nil {
			return nil, 0, err
		}
		if found = true; n.Valid {
			data = append(slices.Grow(data, int(n.Int64)+1), piece...) // not nil, also where it is empty
		}
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, fmt.Errorf("blob %d: %w", id, ErrNotFound)
	}
	return data, size, nil
}
