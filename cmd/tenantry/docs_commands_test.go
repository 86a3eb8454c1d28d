package main

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commandLine is a command of ours in a page, indented as code: after a prompt, or alone.
var commandLine = regexp.MustCompile(`(?m)^    (?:\$ )?(?:bin/)?tenantry ([a-z](?:.*\\\n)*.*)$`)

// What somebody copies from a page at three in the morning has to be taken: each flag is there, its value is one, and they
// go together.
func TestDocs_EveryCommandLine_IsOneThatThereIs(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, page := range append(pages, "../../README.md") {
		for _, m := range commandLine.FindAllStringSubmatch(readDoc(t, page), -1) {
			line := strings.ReplaceAll(m[1], "\\\n", " ")
			line, _, _ = strings.Cut(line, " | ") // what is done with the output
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, "  ") // a remark
			var args []string
			for word := range strings.FieldsSeq(strings.ReplaceAll(line, "'", "")) {
				if word != "…" && !strings.HasPrefix(word, "[") { // left out
					args = append(args, word)
				}
			}
			checked++
			cmd, rest, err := newRoot().Find(args)
			if err == nil {
				err = cmd.ParseFlags(rest)
			}
			if err == nil {
				err = cmd.ValidateArgs(cmd.Flags().Args())
			}
			if err == nil && !cmd.HasParent() {
				err = errors.New("there is no such command")
			}
			if err != nil {
				t.Errorf("%s: tenantry %s: %v", filepath.Base(page), line, err)
				continue
			}
			if cmd.Name() == "replay" && cmd.Flag("region").Value.String()+cmd.Flag("topic").Value.String() != "false" {
				if _, err := checkReplay(cmd); err != nil {
					t.Errorf("%s: tenantry %s: %v", filepath.Base(page), line, err)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d command lines were found: the test does not read the pages right", checked)
	}
}

func TestHelp_TheExamplesOfReplay_AreFlagsThatGoTogether(t *testing.T) {
	for line := range strings.Lines(newReplay().Example) {
		cmd := newReplay()
		if err := cmd.ParseFlags(strings.Fields(line)[2:]); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		} else if _, err := checkReplay(cmd); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		}
	}
}
