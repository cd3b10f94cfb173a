# make deb    packages for Debian and Ubuntu: dist/mailbox_VERSION_ARCH.deb
#
# The same commit gives the same bytes: what is not given in the environment
# comes from git.

export VERSION ?= $(shell packaging/version.sh)
export MAINTAINER ?= $(shell git log -1 --format='%an <%ae>')
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
export CGO_ENABLED = 0

debs = deb-amd64 deb-arm64
build = go build -trimpath -buildvcs=false -ldflags '-s -w -X main.release=$(VERSION)'

.PHONY: deb $(debs) share clean

deb: $(debs)

$(debs): deb-%: share
	GOARCH=$* $(build) -o dist/$*/mailbox ./cmd/mailbox
	ARCH=$* go tool -modfile=tools/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target dist

share:
	$(build) -o dist/mailbox ./cmd/mailbox
	packaging/share.sh dist/mailbox dist/share

clean:
	rm -rf dist
