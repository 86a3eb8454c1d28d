package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configFile is what a file of settings says, as far as it can be read, and what is wrong with
// the rest.
type configFile struct {
	path     string // "": there is no file
	settings []setting
	faults   []error
}

// setting is a key of the file, and its values as a command line has them.
type setting struct {
	name   string
	line   int
	values []settingValue
}

type settingValue struct {
	text string
	line int
}

// fault is one thing that is wrong in a file, and where.
type fault struct {
	path string
	line int // 0: the whole file
	text string
}

func (f *fault) Error() string {
	if f.line == 0 {
		return f.path + ": " + f.text
	}
	return fmt.Sprintf("%s, line %d: %s", f.path, f.line, f.text)
}

// lineOf is where in its file a fault is; what is in none comes last.
func lineOf(err error) int {
	if f, ok := errors.AsType[*fault](err); ok {
		return f.line
	}
	return int(^uint(0) >> 1)
}

// sorted orders faults as a reader meets them: by line, and the environment's after the file's.
func sorted(faults []error) []error {
	slices.SortStableFunc(faults, func(a, b error) int { return lineOf(a) - lineOf(b) })
	return faults
}

// readConfig reads the file that --config or its environment variable names. Keys that no
// command has a flag for, and keys given twice, are faults.
func readConfig(flag string) *configFile {
	file, by := &configFile{path: flag}, "--config"
	if file.path == "" {
		file.path, by = os.Getenv(envName("config")), envName("config")
	}
	if file.path == "" {
		return file
	}
	b, err := os.ReadFile(file.path) //nolint:gosec // the user names the file
	if err != nil {
		file.faults = append(file.faults, fmt.Errorf("%s: read the configuration: %w", by, err))
		return file
	}
	file.parse(b)
	return file
}

// yamlLine is how the YAML package says where it stopped.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// parse reads a file whose top level is keys with a value or a list of values.
func (c *configFile) parse(b []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // else the file is empty, and sets nothing
			c.notYAML(err)
		}
		return
	}
	switch err := decoder.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		c.notYAML(err)
	default:
		c.fault(more.Line, "the file has a second document here, which nothing would read: join them")
	}
	top := doc.Content[0]
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return
	}
	if top.Kind != yaml.MappingNode {
		c.fault(top.Line, "the file must hold keys and values, such as 'data-dir: /var/lib/tenantry'")
		return
	}
	known := allFlags()
	lines := make(map[string]int)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		f := known[key.Value]
		if f == nil {
			c.fault(key.Line, "%s", unknownKey(key.Value, known))
			continue
		}
		if first, twice := lines[key.Value]; twice {
			c.fault(key.Line, "%s is set twice, in line %d too: keep one", key.Value, first)
		} else {
			lines[key.Value] = key.Line
		}
		s := setting{name: key.Value, line: key.Line}
		if c.readValues(&s, value, f) {
			c.settings = append(c.settings, s)
		}
	}
}

// readValues takes the values that some command's flag takes. Where none does it finds all that
// is wrong with them for the flag that takes most.
func (c *configFile) readValues(s *setting, n *yaml.Node, flags []*variant) bool {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
		if len(items) == 0 {
			c.fault(n.Line, "%s is an empty list: give a value, or leave the key out", s.name)
			return false
		}
	}
	good := true
	for _, item := range items {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			c.fault(item.Line, "%s must be one value or a list of values", s.name)
			good = false
			continue
		}
		s.values = append(s.values, settingValue{item.Value, item.Line})
	}
	var wrong []error
	for i, f := range flags {
		faults := c.setAll(f.Flag, *s)
		if len(faults) == 0 {
			return good
		}
		if i == 0 || len(faults) < len(wrong) {
			wrong = faults
		}
	}
	c.faults = append(c.faults, wrong...)
	return false
}

// setAll sets each value on a flag, and is what is wrong with them.
func (c *configFile) setAll(f *pflag.Flag, s setting) (faults []error) {
	for _, v := range s.values {
		if err := f.Value.Set(v.text); err != nil {
			faults = append(faults, &fault{c.path, v.line, fmt.Sprintf("%s: %q: %s", s.name, masked(s.name, v.text), err)})
		}
	}
	if _, many := f.Value.(*list); !many && len(s.values) > 1 {
		faults = append(faults, &fault{c.path, s.values[0].line, fmt.Sprintf("%s takes one value, and here are %d: keep one", s.name, len(s.values))})
	}
	return faults
}

func (c *configFile) fault(line int, format string, args ...any) {
	c.faults = append(c.faults, &fault{c.path, line, fmt.Sprintf(format, args...)})
}

func (c *configFile) notYAML(err error) {
	text, _, _ := strings.Cut(err.Error(), "\n")
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1]) // none: it says no line
		text = m[2]
	}
	c.fault(line, "this is not YAML: %s", text)
}

// setting is what the file says of one flag.
func (c *configFile) setting(name string) (setting, bool) {
	i := slices.IndexFunc(c.settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return setting{}, false
	}
	return c.settings[i], true
}

func unknownKey(key string, known map[string][]*variant) string {
	text := fmt.Sprintf("unknown key %q", key)
	for _, name := range sortedNames(known) {
		if nearly(key, name) {
			return text + ": is " + name + " meant?"
		}
	}
	return text + ": a key is the name of a flag that is a setting, without the dashes; 'tenantry config print' lists them"
}
