"""Sends with smtplib and reads with imaplib; called by TestPython."""

import base64
import hashlib
import hmac
import imaplib
import smtplib
import ssl
import sys

smtp_address, imap_address, ca, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
TEXT = b"From: you@client.example\r\nSubject: one\r\n\r\n.dot\r\nend\r\n"


def address(s):
    host, port = s.rsplit(":", 1)
    return host, int(port)


def check(ok, what):
    if not ok:
        sys.exit("failed: %s" % (what,))


# Plain, STARTTLS, SMTPUTF8.
with smtplib.SMTP(*address(smtp_address)) as s:
    s.sendmail("you@client.example", ["alice@home.example", "bob@home.example"], TEXT)
    try:
        s.sendmail("you@client.example", ["nobody@home.example"], TEXT)
        check(False, "an unknown user was taken")
    except smtplib.SMTPRecipientsRefused as e:
        check(e.recipients["nobody@home.example"][0] == 550, e)
with smtplib.SMTP(*address(smtp_address)) as s:
    s.starttls(context=context)
    s.sendmail("you@client.example", ["alice@home.example"], TEXT)
    s.sendmail("jörg@bücher.example", ["alice@home.example"], TEXT, mail_options=["SMTPUTF8", "BODY=8BITMIME"])


def login(starttls=False):
    c = imaplib.IMAP4(*address(imap_address))
    if starttls:
        c.starttls(context)
    check(c.login("alice@home.example", password)[0] == "OK", "login")
    check(c.select("INBOX") == ("OK", [b"3"]), "select")
    return c


def scram(name, password):
    """SCRAM-SHA-256 (RFC 5802, RFC 7677) as imaplib calls it, challenge by challenge."""
    bare, said = "n=%s,r=fyko+d2lbbFgONRv9qkxdawL" % name, {}

    def mac(key, text):
        return hmac.new(key, text.encode(), "sha256").digest()

    def answer(challenge):
        text = challenge.decode()
        if not text:
            return "n,," + bare
        fields = dict(f.split("=", 1) for f in text.split(","))
        if "v" in fields:
            check(base64.b64decode(fields["v"]) == said["signature"], "the server's signature")
            return b""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        key = mac(salted, "Client Key")
        without = "c=biws,r=" + fields["r"]
        whole = ",".join([bare, text, without])
        proof = bytes(a ^ b for a, b in zip(key, mac(hashlib.sha256(key).digest(), whole)))
        said["signature"] = mac(mac(salted, "Server Key"), whole)
        return without + ",p=" + base64.b64encode(proof).decode()

    return answer


for starttls in (False, True):
    with imaplib.IMAP4(*address(imap_address)) as c:
        if starttls:
            c.starttls(context)
        check(c.authenticate("SCRAM-SHA-256", scram("alice@home.example", password))[0] == "OK", "scram")
        check(c.select("INBOX")[0] == "OK", "select after scram")
with imaplib.IMAP4(*address(imap_address)) as c:
    try:
        c.authenticate("SCRAM-SHA-256", scram("alice@home.example", "wrong"))
        check(False, "a wrong password was taken")
    except imaplib.IMAP4.error as e:
        check("AUTHENTICATIONFAILED" in str(e), e)

one, two = login(), login(starttls=True)
for n in (b"1", b"2", b"3"):
    body = one.fetch(n, "(BODY.PEEK[])")[1][0][1]
    check(body.endswith(TEXT) and body.count(b"\nReceived: ") == 1, body)
check(one.search(None, "SUBJECT", "ONE") == ("OK", [b"1 2 3"]), "search")

# Two sessions see each other's flags, arrivals and expunges.
one.store(b"2", "+FLAGS", r"(\Flagged blue)")
two.noop()
check(b"blue" in two.response("FETCH")[1][0], "flags of another session")
one.append("INBOX", r"(\Seen)", None, TEXT)
two.noop()
check(two.response("EXISTS")[1][-1] == b"4", "arrival by another session")
one.store(b"1", "+FLAGS", r"(\Deleted)")
one.expunge()
two.noop()
check(two.response("EXPUNGE")[1] == [b"1"], "expunge by another session")
check(two.uid("COPY", "2:3", "Archive")[0] == "OK", "copy")
check(two.status("Archive", "(MESSAGES)")[1] == [b"Archive (MESSAGES 2)"], "status")
one.logout()
two.logout()
print("all is well")
