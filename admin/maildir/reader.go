package maildir

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/klauspost/compress/zstd"

	"mailbox/admin/archive"
)

const subscriptionsFile = "subscriptions"

// A Reader reads a Maildir, or a tree of them.
type Reader struct {
	root    *os.Root
	folders *folders
}

var _ archive.Reader = (*Reader)(nil)

// Open opens the Maildirs in a directory.
func Open(dir string) (*Reader, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f, err := findFolders(root)
	if err == nil && len(f.found) == 0 {
		err = fmt.Errorf("%s is no Maildir, and there is none in it", dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Reader{root, f}, nil
}

// Close closes what Open opened.
func (r *Reader) Close() error { return r.root.Close() }

// Mailboxes lists the folders.
func (r *Reader) Mailboxes(context.Context) ([]archive.Mailbox, error) {
	subscribed, err := r.folders.subscribed()
	if err != nil {
		return nil, err
	}
	var list []archive.Mailbox
	for _, f := range r.folders.found {
		list = append(list, archive.Mailbox{Name: f.name, Subscribed: subscribed == nil || subscribed[f.raw], Messages: count(r.root, f.path)})
	}
	archive.GuessSpecialUse(list)
	return list, nil
}

// Messages reads the messages of a folder. One that was deleted after the
// folder was listed has an Err.
func (r *Reader) Messages(ctx context.Context, mailbox string, yield func(*archive.Message) error) error {
	for _, f := range r.folders.found {
		if f.name != mailbox {
			continue
		}
		if f.err != nil {
			return fmt.Errorf("%s: %w", f.path, f.err)
		}
		o, err := r.open(f.path)
		if err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
		defer o.close()
		return o.messages(ctx, yield)
	}
	return fmt.Errorf("there is no mailbox %q", mailbox)
}

// An openFolder is a folder that is being read.
type openFolder struct {
	root     *os.Root
	path     string
	keywords *keywords
	listing  *listing
	again    *listing // later names, where some changed
	missed   string   // the last that was not found in again
	listed   int      // how often the folder was listed again
	buffer   *bufio.Reader
	zstd     *zstd.Decoder
}

// maxListings is how often a folder is listed again because names change.
const maxListings = 100

func (r *Reader) open(folder string) (*openFolder, error) {
	o := &openFolder{root: r.root, path: folder, buffer: bufio.NewReaderSize(nil, 32<<10)}
	var err error
	if o.keywords, err = openKeywords(r.root, folder); err != nil {
		return nil, err
	}
	if o.listing, err = list(r.root, folder, messageDirs[:]...); err != nil {
		return nil, err
	}
	if err := o.uids(); err != nil {
		return nil, err
	}
	o.listing.sortByArrival()
	return o, nil
}

// uids gives the messages the UIDs that Dovecot knows them by.
func (o *openFolder) uids() error {
	f, err := archive.OpenRegular(o.root, path.Join(o.path, uidlistFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	o.listing.sortByUnique()
	err = readUIDs(f, func(unique string, uid uint32) {
		if e := o.listing.find(unique); e != nil {
			e.uid = uid
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", uidlistFile, err)
	}
	return nil
}

func (o *openFolder) close() {
	if o.zstd != nil {
		o.zstd.Close()
	}
}

func (o *openFolder) messages(ctx context.Context, yield func(*archive.Message) error) error {
	for _, e := range o.listing.entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := o.message(e, yield); err != nil {
			return err
		}
	}
	return nil
}

func (o *openFolder) message(e entry, yield func(*archive.Message) error) error {
	name := o.listing.name(e)
	m := &archive.Message{Place: path.Join(o.path, o.listing.path(e))}
	f, err := archive.OpenRegular(o.root, m.Place)
	if errors.Is(err, fs.ErrNotExist) {
		f, name, err = o.renamed(o.listing.unique(e))
	}
	if err != nil {
		m.Err = err
		return yield(m)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		m.Err = err
		return yield(m)
	}
	m.Received = info.ModTime().UTC().Truncate(1e9)
	var unknown string
	_, letters := splitName(name)
	if m.Flags, unknown = o.keywords.flags(letters); unknown != "" {
		m.Loss = archive.Loss(fmt.Sprintf("no keyword is known for its flags %q", unknown))
	}
	m.Content, m.Err = o.content(f)
	return yield(m)
}

// renamed opens a message whose flags were changed since the folder was listed.
func (o *openFolder) renamed(unique string) (*os.File, string, error) {
	for fresh := false; !fresh; {
		if o.again == nil || o.missed == unique {
			if o.listed++; o.listed > maxListings {
				break
			}
			again, err := list(o.root, o.path, messageDirs[:]...)
			if err != nil {
				return nil, "", err
			}
			again.sortByUnique()
			o.again, fresh = again, true
		}
		if e := o.again.find(unique); e != nil {
			f, err := archive.OpenRegular(o.root, path.Join(o.path, o.again.path(*e)))
			if !errors.Is(err, fs.ErrNotExist) {
				return f, o.again.name(*e), err
			}
		}
		o.missed = unique
	}
	return nil, "", errors.New("deleted meanwhile")
}

// content reads a file, which Dovecot may have compressed.
func (o *openFolder) content(f *os.File) (io.Reader, error) {
	o.buffer.Reset(f)
	magic, _ := o.buffer.Peek(4) // an error comes again
	var plain io.Reader = o.buffer
	var err error
	switch {
	case len(magic) >= 3 && string(magic[:3]) == "\x1f\x8b\x08":
		plain, err = gzip.NewReader(o.buffer)
	case string(magic) == "\x28\xb5\x2f\xfd":
		plain, err = o.zstandard()
	}
	if err != nil {
		return nil, err
	}
	return archive.WithCRLF(plain, archive.ByFirstLine), nil
}

func (o *openFolder) zstandard() (io.Reader, error) {
	var err error
	if o.zstd == nil {
		o.zstd, err = zstd.NewReader(o.buffer, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(32<<20))
	} else {
		err = o.zstd.Reset(o.buffer)
	}
	return o.zstd, err
}
