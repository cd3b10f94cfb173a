package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Listen opens the operator's socket, mode 0660, in a directory that it makes
// if need be. A socket that a dead server left is replaced; one on which a
// server answers is an error. Only root, our own user and members of our own
// group get a connection: their credentials come from the kernel.
func Listen(path string, log *slog.Logger) (net.Listener, error) {
	old := syscall.Umask(0o022) // members of the group must get to it
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close() //nolint:errcheck // it was only a knock
		return nil, fmt.Errorf("admin socket %s: another server answers there", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	old = syscall.Umask(0o117) // from its first moment the socket is 0660
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return &guarded{l.(*net.UnixListener), log}, nil
}

// NewServer returns the HTTP server for the socket.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// guarded is a Unix socket that knows its peers.
type guarded struct {
	*net.UnixListener
	log *slog.Logger
}

// Accept implements net.Listener.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err == nil && mayCome(p, os.Geteuid(), os.Getegid()) {
			return c, nil
		}
		g.log.Warn("admin connection refused", "uid", p.uid, "gid", p.gid, "pid", p.pid, "err", err)
		c.Close() //nolint:errcheck // it was refused
	}
}

// A peer is the process at the other end of a Unix socket.
type peer struct {
	uid, gid, pid int
	groups        []int // supplementary ones
}

// mayCome is the rule: root, our own user, members of our own group.
func mayCome(p peer, uid, gid int) bool {
	return p.uid == 0 || p.uid == uid || p.gid == gid || slices.Contains(p.groups, gid)
}

func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{uid: -1, gid: -1}, err
	}
	var cred *syscall.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil || cerr != nil {
		return peer{uid: -1, gid: -1}, errors.Join(err, cerr)
	}
	return peer{uid: int(cred.Uid), gid: int(cred.Gid), pid: int(cred.Pid), groups: groupsOf(int(cred.Pid))}, nil
}

// groupsOf reads the supplementary groups of a process; none where it is gone.
func groupsOf(pid int) []int {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return nil
	}
	var groups []int
	for line := range strings.Lines(string(text)) {
		list, ok := strings.CutPrefix(line, "Groups:")
		if !ok {
			continue
		}
		for _, f := range strings.Fields(list) {
			if n, err := strconv.Atoi(f); err == nil {
				groups = append(groups, n)
			}
		}
	}
	return groups
}
