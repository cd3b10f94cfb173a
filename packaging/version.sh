#!/bin/sh
# Prints the version of the checkout, as Debian orders them: 1.2.3 at the tag
# v1.2.3, 1.2.3~rc1 at v1.2.3-rc1, 1.2.3+4.gabcdef four commits after v1.2.3,
# 0~DATE.COMMIT before the first tag.
set -eu
if tag=$(git describe --tags --match 'v[0-9]*' 2>/dev/null); then
	echo "$tag" | sed 's/^v//; s/-rc/~rc/; s/-/+/; s/-/./g'
else
	TZ=UTC git log -1 --date=format-local:%Y%m%d%H%M%S --format=0~%cd.%h --abbrev=12
fi
