package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A marionette is a connection to the remote control of Thunderbird (the one
// that Firefox has for WebDriver): packets of JSON, each after its length.
type marionette struct {
	nc        net.Conn
	r         *bufio.Reader
	id        int    // of the last command
	functions string // that scripts may call
}

// marionettePatience is how long Thunderbird may take for anything.
const marionettePatience = 2 * time.Minute

// dialMarionette begins a session whose scripts run in Thunderbird's main
// window, with the rights of its own, and may call some functions.
func dialMarionette(address, functions string) (*marionette, error) {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	m := &marionette{nc: nc, r: bufio.NewReader(nc), functions: functions}
	if _, err = m.packet(); err == nil { // its greeting
		_, err = m.do("WebDriver:NewSession", map[string]any{})
	}
	if err == nil {
		_, err = m.do("Marionette:SetContext", map[string]any{"value": "chrome"})
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return m, nil
}

// do sends a command and returns its result as JSON.
func (m *marionette) do(name string, parameters map[string]any) (json.RawMessage, error) {
	m.id++
	command, err := json.Marshal([]any{0, m.id, name, parameters})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(m.nc, "%d:%s", len(command), command); err != nil {
		return nil, err
	}
	answer, err := m.packet()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var parts [4]json.RawMessage // 1, the command's number, error, result
	if err := json.Unmarshal(answer, &parts); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if string(parts[2]) != "null" {
		return nil, fmt.Errorf("%s: %s", name, parts[2])
	}
	return parts[3], nil
}

// packet reads one packet.
func (m *marionette) packet() ([]byte, error) {
	m.nc.SetReadDeadline(time.Now().Add(marionettePatience)) //nolint:errcheck // the read tells
	length, err := m.r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	text := make([]byte, n)
	_, err = io.ReadFull(m.r, text)
	return text, err
}

// call calls a function, waits for its promise, and returns its value as JSON.
func (m *marionette) call(function string, args ...any) (string, error) {
	script := m.functions + "\nreturn (async () => (await " + function + "(...arguments)) ?? null)();"
	result, err := m.do("WebDriver:ExecuteScript", map[string]any{"script": script, "args": append([]any{}, args...)})
	if err != nil {
		return "", fmt.Errorf("%s: %w", function, err)
	}
	var value struct{ Value json.RawMessage }
	err = json.Unmarshal(result, &value)
	return string(value.Value), err
}
