package storage

// migrations is the append-only list of schema changes: entry n takes the
// database from version n to n+1. An entry that was released never changes.
var migrations = [...]string{schema1, schema2, schema3, schema4, schema5, schema6, schema7}

// schema1 is the first schema. Times are Unix seconds unless said otherwise.
const schema1 = `
CREATE TABLE server (
	key   TEXT PRIMARY KEY,
	value BLOB NOT NULL
) STRICT;

CREATE TABLE account (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	name        TEXT NOT NULL UNIQUE,
	quota       INTEGER NOT NULL DEFAULT 0,
	used        INTEGER NOT NULL DEFAULT 0,
	messages    INTEGER NOT NULL DEFAULT 0,
	modseq      INTEGER NOT NULL DEFAULT 1,
	last_email  INTEGER NOT NULL DEFAULT 0,
	salt        BLOB NOT NULL,
	iterations  INTEGER NOT NULL,
	tag_folders INTEGER NOT NULL DEFAULT 0,
	removed     INTEGER NOT NULL DEFAULT 0,
	created     INTEGER NOT NULL
) STRICT;

CREATE TABLE credential (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	account    INTEGER NOT NULL REFERENCES account(id),
	name       TEXT NOT NULL,
	stored_key BLOB NOT NULL,
	server_key BLOB NOT NULL,
	created    INTEGER NOT NULL,
	last_used  INTEGER NOT NULL DEFAULT 0,
	last_from  TEXT NOT NULL DEFAULT '',
	UNIQUE (account, name)
) STRICT;

-- The addresses from which an account logged in, for throttling.
CREATE TABLE login_address (
	account INTEGER NOT NULL REFERENCES account(id),
	address TEXT NOT NULL,
	last    INTEGER NOT NULL,
	PRIMARY KEY (account, address)
) STRICT, WITHOUT ROWID;

-- account is NULL for an alias; '@domain' is the catch-all of its domain.
CREATE TABLE address (
	address TEXT PRIMARY KEY,
	account INTEGER REFERENCES account(id)
) STRICT, WITHOUT ROWID;
CREATE INDEX address_account ON address (account);

CREATE TABLE alias_target (
	address TEXT NOT NULL REFERENCES address(address) ON DELETE CASCADE,
	target  TEXT NOT NULL,
	PRIMARY KEY (address, target)
) STRICT, WITHOUT ROWID;

-- keywords are parted by spaces; the place of one is its bit in message.keywords.
CREATE TABLE mailbox (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	account     INTEGER NOT NULL REFERENCES account(id),
	name        TEXT NOT NULL,
	uidvalidity INTEGER NOT NULL,
	uidnext     INTEGER NOT NULL DEFAULT 1,
	created     INTEGER NOT NULL,
	changed     INTEGER NOT NULL,
	special_use TEXT NOT NULL DEFAULT '',
	subscribed  INTEGER NOT NULL DEFAULT 0,
	present     INTEGER NOT NULL DEFAULT 1,
	messages    INTEGER NOT NULL DEFAULT 0,
	unseen      INTEGER NOT NULL DEFAULT 0,
	deleted     INTEGER NOT NULL DEFAULT 0,
	size        INTEGER NOT NULL DEFAULT 0,
	keywords    TEXT NOT NULL DEFAULT '',
	UNIQUE (account, name)
) STRICT;

-- size is of the plain text; stored bytes are in data, or where data is NULL in a file.
CREATE TABLE blob (
	id     INTEGER PRIMARY KEY AUTOINCREMENT,
	size   INTEGER NOT NULL,
	sha256 BLOB NOT NULL,
	data   BLOB
) STRICT;

-- id is account × 2³² + n. zone is the offset of INTERNALDATE in seconds east of UTC.
CREATE TABLE email (
	id            INTEGER PRIMARY KEY,
	blob          INTEGER NOT NULL REFERENCES blob(id),
	size          INTEGER NOT NULL,
	received      INTEGER NOT NULL,
	zone          INTEGER NOT NULL,
	thread        INTEGER NOT NULL,
	envelope      BLOB NOT NULL,
	bodystructure BLOB NOT NULL,
	parts         BLOB NOT NULL,
	preview       TEXT NOT NULL
) STRICT;
CREATE INDEX email_blob ON email (blob);

CREATE TABLE message (
	mailbox  INTEGER NOT NULL REFERENCES mailbox(id),
	uid      INTEGER NOT NULL,
	email    INTEGER NOT NULL REFERENCES email(id),
	flags    INTEGER NOT NULL,
	keywords BLOB,
	created  INTEGER NOT NULL,
	changed  INTEGER NOT NULL,
	saved    INTEGER NOT NULL,
	PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_email ON message (email);

-- What is gone: a message (mailbox and uid), an email (email), or a mailbox (mailbox alone).
CREATE TABLE expunged (
	account INTEGER NOT NULL,
	modseq  INTEGER NOT NULL,
	mailbox INTEGER NOT NULL DEFAULT 0,
	uid     INTEGER NOT NULL DEFAULT 0,
	email   INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (account, modseq, mailbox, uid, email)
) STRICT, WITHOUT ROWID;
CREATE INDEX expunged_mailbox ON expunged (mailbox, modseq);

CREATE TABLE queue_message (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	account INTEGER NOT NULL DEFAULT 0,
	blob    INTEGER NOT NULL REFERENCES blob(id),
	sender  TEXT NOT NULL,
	size    INTEGER NOT NULL,
	ret     TEXT NOT NULL DEFAULT '',
	envid   TEXT NOT NULL DEFAULT '',
	queued  INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_message_blob ON queue_message (blob);

CREATE TABLE queue_recipient (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	message  INTEGER NOT NULL REFERENCES queue_message(id),
	address  TEXT NOT NULL,
	domain   TEXT NOT NULL,
	notify   TEXT NOT NULL DEFAULT '',
	orcpt    TEXT NOT NULL DEFAULT '',
	due      INTEGER NOT NULL,
	attempts INTEGER NOT NULL DEFAULT 0,
	reply    TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX queue_recipient_due ON queue_recipient (due);
CREATE INDEX queue_recipient_message ON queue_recipient (message);
`

// schema2 is the outbound queue as it is used; nothing wrote to the tables of
// schema1. A message is sent from the octet skip of its blob on, which leaves
// out what only our own users get; times of attempts are milliseconds.
const schema2 = `
DROP TABLE queue_recipient;
DROP TABLE queue_message;

CREATE TABLE queue_message (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	account     INTEGER NOT NULL,
	blob        INTEGER NOT NULL REFERENCES blob(id),
	skip        INTEGER NOT NULL,
	size        INTEGER NOT NULL,
	sender      TEXT NOT NULL,
	message_id  TEXT NOT NULL,
	utf8        INTEGER NOT NULL,
	require_tls INTEGER NOT NULL,
	ret         TEXT NOT NULL,
	envid       TEXT NOT NULL,
	queued      INTEGER NOT NULL,
	release     INTEGER NOT NULL
) STRICT;
CREATE INDEX queue_message_blob ON queue_message (blob);

CREATE TABLE queue_recipient (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	message  INTEGER NOT NULL REFERENCES queue_message(id),
	address  TEXT NOT NULL,
	domain   TEXT NOT NULL,
	route    TEXT NOT NULL DEFAULT '',
	notify   TEXT NOT NULL,
	orcpt    TEXT NOT NULL,
	due      INTEGER NOT NULL,
	held     INTEGER NOT NULL DEFAULT 0,
	noticed  INTEGER NOT NULL DEFAULT 0,
	attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX queue_recipient_message ON queue_recipient (message);

CREATE TABLE queue_attempt (
	recipient INTEGER NOT NULL REFERENCES queue_recipient(id) ON DELETE CASCADE,
	number    INTEGER NOT NULL,
	at        INTEGER NOT NULL,
	took      INTEGER NOT NULL,
	host      TEXT NOT NULL,
	address   TEXT NOT NULL,
	tls       TEXT NOT NULL,
	stage     TEXT NOT NULL,
	reply     TEXT NOT NULL,
	PRIMARY KEY (recipient, number)
) STRICT, WITHOUT ROWID;

-- How many recipients elsewhere an account has written to on a day (Unix days).
CREATE TABLE sent (
	account    INTEGER NOT NULL REFERENCES account(id),
	day        INTEGER NOT NULL,
	recipients INTEGER NOT NULL,
	PRIMARY KEY (account, day)
) STRICT, WITHOUT ROWID;
`

// schema3 is what is known of senders, and how we vouch for our own mail.
const schema3 = `
-- A key that signs (RFC 6376); private is PKCS #8 in PEM. signs is since when, 0
-- means not yet; retired is since when it does not any more, 0 means it does.
CREATE TABLE dkim_key (
	id        INTEGER PRIMARY KEY AUTOINCREMENT,
	domain    TEXT NOT NULL,
	selector  TEXT NOT NULL,
	algorithm TEXT NOT NULL,
	private   BLOB NOT NULL,
	created   INTEGER NOT NULL,
	signs     INTEGER NOT NULL DEFAULT 0,
	retired   INTEGER NOT NULL DEFAULT 0,
	UNIQUE (domain, selector)
) STRICT;

-- What the operator wants done with mail of a sender: an address or a domain.
CREATE TABLE sender_policy (
	sender  TEXT PRIMARY KEY,
	action  TEXT NOT NULL,
	note    TEXT NOT NULL,
	created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whose mail an account has had: "from bob@example.org", "list news.example.org example.org".
CREATE TABLE acquaintance (
	account  INTEGER NOT NULL REFERENCES account(id),
	who      TEXT NOT NULL,
	messages INTEGER NOT NULL,
	first    INTEGER NOT NULL,
	last     INTEGER NOT NULL,
	PRIMARY KEY (account, who)
) STRICT, WITHOUT ROWID;

-- What became of a message that a peer brought, and why; checks is JSON, at is in milliseconds.
CREATE TABLE explanation (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	at         INTEGER NOT NULL,
	trace      TEXT NOT NULL,
	message_id TEXT NOT NULL,
	sender     TEXT NOT NULL,
	recipients TEXT NOT NULL,
	peer       TEXT NOT NULL,
	outcome    TEXT NOT NULL,
	checks     TEXT NOT NULL
) STRICT;
CREATE INDEX explanation_trace ON explanation (trace);
CREATE INDEX explanation_message_id ON explanation (message_id);
`

// schema4 is what IMAP clients note about mailboxes (RFC 5464). A mailbox of 0
// stands for the account itself.
const schema4 = `
CREATE TABLE annotation (
	account INTEGER NOT NULL REFERENCES account(id),
	mailbox INTEGER NOT NULL,
	entry   TEXT NOT NULL,
	value   BLOB NOT NULL,
	PRIMARY KEY (account, mailbox, entry)
) STRICT, WITHOUT ROWID;
`

// schema5 is what messages are found, sorted and threaded by without their
// envelopes being read. What was there before gets its keys at the next start.
const schema5 = `
-- The day of INTERNALDATE in its zone, since 1970; see dayOf.
ALTER TABLE message ADD COLUMN day INTEGER NOT NULL DEFAULT 0;
UPDATE message SET day = (SELECT CASE WHEN (e.received + e.zone) / 86400 BETWEEN 1 AND 65534 THEN (e.received + e.zone) / 86400 ELSE 0 END FROM email e WHERE e.id = message.email);

-- The sort keys of an email (RFC 5256); sent is of its Date field, or else of
-- INTERNALDATE, sent_day as written there, or NULL. Message-IDs are known by a
-- hash; refs are those that it refers to, 8 octets each.
CREATE TABLE email_key (
	email    INTEGER PRIMARY KEY REFERENCES email(id) ON DELETE CASCADE,
	sent     INTEGER NOT NULL,
	sent_day INTEGER,
	received INTEGER NOT NULL,
	size     INTEGER NOT NULL,
	id       INTEGER NOT NULL,
	refs     BLOB NOT NULL,
	reply    INTEGER NOT NULL,
	subject  TEXT NOT NULL,
	sender   TEXT NOT NULL,
	receiver TEXT NOT NULL,
	copied   TEXT NOT NULL
) STRICT;

-- The thread (email.thread) of a Message-ID that an email has or refers to.
CREATE TABLE thread_id (
	account INTEGER NOT NULL,
	id      INTEGER NOT NULL,
	thread  INTEGER NOT NULL,
	PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX thread_id_thread ON thread_id (thread);
CREATE INDEX email_thread ON email (thread);
`

// schema6 is where messages came from that were pulled from another server.
const schema6 = `
-- A mailbox of another server in one life of its UIDs.
CREATE TABLE origin (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	account  INTEGER NOT NULL REFERENCES account(id),
	source   TEXT NOT NULL,
	mailbox  TEXT NOT NULL,
	validity INTEGER NOT NULL,
	UNIQUE (account, source, mailbox, validity)
) STRICT;

-- The emails that came from it, by their UIDs there. size and sha256 are of the
-- octets as they came; flags, parted by spaces, are those last seen there; mailbox
-- is what that is called into which it was to go. The email may be gone.
CREATE TABLE pulled (
	origin  INTEGER NOT NULL REFERENCES origin(id) ON DELETE CASCADE,
	uid     INTEGER NOT NULL,
	email   INTEGER NOT NULL,
	mailbox TEXT NOT NULL,
	size    INTEGER NOT NULL,
	sha256  BLOB NOT NULL,
	flags   TEXT NOT NULL,
	PRIMARY KEY (origin, uid)
) STRICT, WITHOUT ROWID;
`

// schema7 parts the bytes of blobs (see pieces.go). Previews are made when
// somebody asks for them.
const schema7 = `
CREATE TABLE piece (
	id   INTEGER PRIMARY KEY, -- of the piece n of blob b: b × 8 + n
	data BLOB NOT NULL
) STRICT;

INSERT INTO piece (id, data)
	WITH RECURSIVE part (blob, n, size) AS (
		SELECT id, 0, length(data) FROM blob WHERE data IS NOT NULL
		UNION ALL
		SELECT blob, n + 1, size FROM part WHERE size <= 4000 AND (n + 1) * 500 < size
		ORDER BY 1, 2
	)
	SELECT p.blob * 8 + p.n, CASE WHEN p.size <= 4000 THEN substr(b.data, 1 + p.n * 500, 500) ELSE b.data END
	FROM part p JOIN blob b ON b.id = p.blob;

ALTER TABLE blob DROP COLUMN data;
ALTER TABLE email DROP COLUMN preview;
`
