package main

import (
	"fmt"
	"strings"
)

// An action is something that a program is to do on its side: to delete, flag,
// unflag or move a message, to create a folder, or to append a message.
type action struct {
	verb, folder string
	digest       string // of the message
	uid          int    // of the message
	to           string // the flag, or the folder
	file         string // with the text that is appended
}

// plan says what the program is to do, which both sides shall have in the end.
func (s *scene) plan() []action {
	s.t.Helper()
	var all []action
	do := func(from, to int, verb, argument string, what func(*entry)) {
		for n := from; n < to; n++ {
			all = append(all, action{verb: verb, folder: s.numbered[n].folder, digest: s.numbered[n].digest, uid: n + 1, to: argument})
		}
		s.change(from, to, what)
	}
	do(60, 70, "flag", `\Answered`, flagged(`\Answered`))
	do(100, 110, "delete", "", deleted)
	do(110, 120, "flag", `\Flagged`, flagged(`\Flagged`))
	do(120, 130, "unflag", `\Seen`, unflagged(`\Seen`))
	do(144, 153, "move", "Archive/2024", movedTo("Archive/2024"))
	for _, folder := range []string{"Programm", "Programm/Übung"} {
		all = append(all, action{verb: "create", folder: folder})
		s.expectFolder(folder)
	}
	mail := newCorrespondence()
	for n := range 12 {
		folder := []string{"INBOX", "Entwürfe, Pläne", "Programm/Übung"}[n%3]
		text := mail.letter(9000 + n)
		all = append(all, action{verb: "append", folder: folder, file: s.write(fmt.Sprintf("new-%d.eml", n), text), to: `\Seen`})
		s.expect(folder, upload{text, `\Seen`})
	}
	return all
}

// script is a plan for programs: a line for each action, with tabs.
func (s *scene) script(plan []action) string {
	var b strings.Builder
	for _, a := range plan {
		fmt.Fprintln(&b, strings.Join([]string{a.verb, a.folder, a.digest, a.to, a.file}, "\t"))
	}
	return s.write("plan.tsv", b.String())
}
