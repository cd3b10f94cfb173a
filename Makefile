# make deb    packages for Debian and Ubuntu: dist/mailbox_VERSION_ARCH.deb
# make long   all tests in their long form: kills, power cuts, failing disks, models, a soak; some hours
# make fuzz   the servers over a connection, each for FUZZTIME (an hour)
# make bench  all benchmarks
#
# The same commit gives the same bytes: what is not given in the environment
# comes from git.

export VERSION ?= $(shell packaging/version.sh)
export MAINTAINER ?= $(shell git log -1 --format='%an <%ae>')
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
export CGO_ENABLED = 0

debs = deb-amd64 deb-arm64
build = go build -trimpath -buildvcs=false -ldflags '-s -w -X main.release=$(VERSION)'

FUZZTIME ?= 1h

.PHONY: deb $(debs) share long fuzz bench clean

deb: $(debs)

$(debs): deb-%: share
	GOARCH=$* $(build) -o dist/$*/mailbox ./cmd/mailbox
	ARCH=$* go tool -modfile=tools/go.mod nfpm package --config packaging/nfpm.yaml --packager deb --target dist

share:
	$(build) -o dist/mailbox ./cmd/mailbox
	packaging/share.sh dist/mailbox dist/share

long:
	MAILBOX_LONG=1 go test -count=1 -timeout 6h -v ./...

fuzz:
	for name in FuzzMTA FuzzSubmission FuzzBeforeLogin FuzzAfterLogin FuzzTwoSessions; do \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$(grep -rl --include='*_test.go' "func $$name(" . | xargs dirname) || exit 1; \
	done

bench:
	MAILBOX_LONG=1 go test -run '^$$' -bench . -timeout 6h ./...

clean:
	rm -rf dist
