"""Sends a message with smtplib; called by TestSubmit.

SCRAM-SHA-256 is written from RFC 5802: smtplib has none of its own.
"""

import base64
import hashlib
import hmac
import os
import smtplib
import ssl
import sys

address, tls, mechanism, ca, password, sender, *recipients = sys.argv[1:]
text = sys.stdin.buffer.read()
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
host, port = address.rsplit(":", 1)


def digest(key, data):
    return hmac.digest(key, data, "sha256")


class Scram:
    def __init__(self, user, secret):
        self.user, self.secret, self.signature = user, secret, None

    def __call__(self, challenge=None):
        if challenge is None:
            self.bare = "n=%s,r=%s" % (self.user, base64.b64encode(os.urandom(18)).decode())
            return "n,," + self.bare
        if self.signature is not None:
            if challenge != self.signature:
                sys.exit("the server does not know the password: %r" % challenge)
            return ""
        fields = dict(f.split("=", 1) for f in challenge.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.secret.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        without = "c=biws,r=" + fields["r"]
        signed = ",".join((self.bare, challenge.decode(), without)).encode()
        key = digest(salted, b"Client Key")
        mask = digest(hashlib.sha256(key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(key, mask))
        self.signature = b"v=" + base64.b64encode(digest(digest(salted, b"Server Key"), signed))
        return without + ",p=" + base64.b64encode(proof).decode()


if tls == "tls":
    s = smtplib.SMTP_SSL(host, int(port), context=context)
else:
    s = smtplib.SMTP(host, int(port))
    s.starttls(context=context)
s.ehlo()
s.user, s.password = "alice@home.example", password
s.auth(mechanism, {"PLAIN": s.auth_plain, "LOGIN": s.auth_login, "SCRAM-SHA-256": Scram(s.user, password)}[mechanism])
s.sendmail(sender, recipients, text)
s.quit()
