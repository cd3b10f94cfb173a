// Package maildir reads and writes Maildirs: one message is one file.
//
// A Reader takes a single Maildir, a tree of folders as Maildir++ lays it out
// (.Sent, .Archive.2024 beside cur, new and tmp), one of directories that are
// Maildirs themselves (Archive/2024/cur: Dovecot's LAYOUT=fs, isync), and any
// mixture. Names are in modified UTF-7, as Dovecot and Courier have them, or in
// UTF-8; others come in as they are, with what is not UTF-8 in hexadecimal
// digits. The order of messages is that of UIDs where there is a
// dovecot-uidlist; others follow in the order of their names, whose first part
// is a time. INTERNALDATE is the time of modification of the file. Nothing
// that a symbolic link outside of the root leads to is read.
//
// A Writer makes Maildir++. The name of a file is made of the date and a hash of
// date and content, so that what an earlier run wrote is known again. A file
// gets into cur when it is durable, and nothing that is there is ever changed,
// but for keywords and subscriptions, which are added.
//
// Lines end in LF. A message that has a bare LF, or CR CR LF, is written with
// the CRLFs that it has, and comes back as it was unless its first line ends in
// a bare LF.
package maildir
