#!/bin/sh
# Run by test.sh, in a clean Debian that systemd has booted: installs the
# package, configures and runs the server, sends and reads mail, upgrades,
# removes and purges.
set -eu
exec 2>&1
trap 'status=$?; [ $status = 0 ] || { echo "failed: $step"; journalctl --no-pager -o cat -n 50 -u mailbox; }; exit $status' EXIT
step() { step=$*; echo "-- $step"; }

not() { if "$@"; then return 1; fi; }
running() { systemctl --quiet is-active mailbox; }
pid() { systemctl show -P MainPID mailbox; }
configure() { printf 'hostname = "mail.example.org"\ndomains = ["example.org"]\n%s\n' "$1" >/etc/mailbox/mailbox.toml; }
inbox() {
	curl -sS --cacert /var/lib/mailbox/tls/ca.pem --resolve mail.example.org:993:127.0.0.1 \
		-u you@example.org:correct-horse-4 "imaps://mail.example.org/INBOX;MAILINDEX=1"
}
has_mail() { inbox | grep -q 'It works\.'; }

step "installing starts nothing"
dpkg -i /mailbox.deb
test "$(systemctl is-enabled mailbox)" = enabled
not running
systemctl start mailbox # at boot, this is what happens
not running
test "$(systemctl is-failed mailbox)" = inactive

step "systemd accepts the unit, and rates it under 2.5"
systemd-analyze verify --man=no mailbox.service
systemd-analyze security --offline=true --no-pager --threshold=25 /usr/lib/systemd/system/mailbox.service >/rating
tail -n 1 /rating

step "root adds a user before the server runs"
cp /usr/share/doc/mailbox/examples/mailbox.toml /etc/mailbox/
mailbox config check
configure ""
echo correct-horse-4 | mailbox admin user add you@example.org --password-stdin
test -z "$(find /var/lib/mailbox ! -user mailbox)"

step "it runs as its user, with one capability, in its system call filter"
mkdir -p /run/systemd/system/mailbox.service.d
printf '[Service]\nWatchdogSec=10s\n' >/run/systemd/system/mailbox.service.d/test.conf
systemctl daemon-reload
systemctl start mailbox
test "$(stat -c '%U:%G %a' /proc/"$(pid)" /var/lib/mailbox /run/mailbox /run/mailbox/admin.sock)" = "\
mailbox:mailbox 555
mailbox:mailbox 700
mailbox:mailbox 750
mailbox:mailbox 660"
for fact in CapPrm:0000000000000400 CapBnd:0000000000000400 NoNewPrivs:1 Seccomp:2; do
	grep -q "^${fact%:*}:[[:space:]]*${fact#*:}$" /proc/"$(pid)"/status
done

step "it takes a message on 25 and serves it on 993"
{ # large enough to be kept in a file
	printf 'From: a@elsewhere.example\r\nSubject: Hello\r\n\r\n'
	head -c 1000000 /dev/urandom | base64 | sed 's/$/\r/'
	printf 'It works.\r\n'
} | curl -sS smtp://127.0.0.1:25 --mail-from a@elsewhere.example --mail-rcpt you@example.org -T -
has_mail

step "root and nobody else asks it"
mailbox admin user list | grep you@example.org
not setpriv --reuid nobody --regid nogroup --clear-groups mailbox admin user list

step "it reloads, and says what it cannot read"
configure '[mta]
listen = [":25", ":2525"]'
systemctl reload mailbox
until curl -sS smtp://127.0.0.1:2525 -X NOOP >/dev/null; do sleep 0.2; done
configure 'no_such_key = 1'
not systemctl reload mailbox
configure ""
systemctl reload mailbox
running

step "it feeds the watchdog"
fed() { systemctl show -P WatchdogTimestampMonotonic mailbox; }
before=$(fed)
while [ "$(fed)" = "$before" ]; do sleep 0.5; done
running
test "$(systemctl show -P NRestarts mailbox)" = 0

step "an upgrade restarts it"
before=$(pid)
dpkg -i /mailbox.deb
running
test "$(pid)" != "$before"
has_mail

step "an upgrade leaves it stopped if it was"
systemctl stop mailbox
dpkg -i /mailbox.deb
not running

step "removing stops it"
systemctl start mailbox
before=$(pid)
dpkg -r mailbox
not test -e /usr/bin/mailbox
not test -e /proc/"$before"

step "purging keeps the mail; installed again, it serves it"
dpkg -P mailbox
test -e /etc/mailbox/mailbox.toml
not systemctl cat mailbox
dpkg -i /mailbox.deb
systemctl start mailbox
has_mail
