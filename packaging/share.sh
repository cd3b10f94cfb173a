#!/bin/sh
# Makes what a package has below /usr/share beside the program itself: manual
# pages, completions, the changelog, and the licences of what is compiled in.
# VERSION, MAINTAINER and SOURCE_DATE_EPOCH must be set.
#
#   packaging/share.sh PROGRAM DIRECTORY
set -eu
mailbox=$1
share=$2
doc=$share/doc/mailbox

rm -rf "$share"
mkdir -p "$share/man/man1" "$share/man/man5" "$doc" "$share/lintian/overrides" \
	"$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"

"$mailbox" man >"$share/man/man1/mailbox.1"
{
	printf '.TH MAILBOX.TOML 5 "" "mailbox %s"\n' "$VERSION"
	printf '.SH NAME\nmailbox.toml \\- the configuration of mailbox(1)\n.SH DESCRIPTION\n.nf\n'
	sed 's/\\/\\e/g; s/-/\\-/g; s/^[.'\'']/\\\&&/' mailbox.toml
	printf '.fi\n.SH SEE ALSO\n.BR mailbox (1)\n'
} >"$share/man/man5/mailbox.toml.5"

"$mailbox" completion bash >"$share/bash-completion/completions/mailbox"
"$mailbox" completion zsh >"$share/zsh/vendor-completions/_mailbox"
"$mailbox" completion fish >"$share/fish/vendor_completions.d/mailbox.fish"

cp packaging/deb/lintian-overrides "$share/lintian/overrides/mailbox"
cp CHANGELOG.md "$doc/changelog"
cat >"$doc/changelog.Debian" <<TEXT
mailbox ($VERSION-1) unstable; urgency=medium

  * The changelog of the program itself is in changelog.gz.

 -- $MAINTAINER  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
{
	printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: Mailbox\n'
	printf 'Comment: The licences of the modules that are compiled in are in licences.gz.\n\n'
	printf 'Files: *\nCopyright: %s\nLicense: Expat\n' "$(sed -n 's/^Copyright (c) //p' LICENSE)"
	sed '1,/^Copyright/d; /./!d; s/^/ /' LICENSE
} >"$doc/copyright"
{
	printf '== Go\n\n'
	cat "$(go env GOROOT)/LICENSE"
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/mailbox | LC_ALL=C sort -u |
		while read -r path version dir; do
			files=$(find "$dir" -maxdepth 1 -type f \( -iname 'licen[cs]e*' -o -iname 'unlicen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) | LC_ALL=C sort)
			if [ -z "$files" ]; then
				echo "$path has no licence" >&2
				exit 1
			fi
			printf '\n== %s %s\n\n' "$path" "$version"
			cat $files
		done
} >"$doc/licences"

find "$doc" "$share/man" -type f ! -name copyright -exec gzip -9n {} +
find "$share" -type d -exec chmod 0755 {} + -o -type f -exec chmod 0644 {} +
