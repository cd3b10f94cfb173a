package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// decodeTOML sets the fields of a struct by their toml tags. Keys that are no
// field's are errors; all errors are returned at once, each beginning with its
// key. In the file durations are "5m", sizes (int64) "50MiB" or octets.
func decodeTOML(text string, into any) error {
	var table map[string]any
	if _, err := toml.Decode(text, &table); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return &lineError{parse.Position.Line, parse.Message}
		}
		return err
	}
	return errors.Join(decodeTable("", table, reflect.ValueOf(into).Elem())...)
}

func decodeTable(prefix string, table map[string]any, into reflect.Value) (errs []error) {
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		fields[into.Type().Field(i).Tag.Get("toml")] = into.Field(i)
	}
	keys := make([]string, 0, len(table))
	for k := range table {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		f, known := fields[k]
		if !known {
			errs = append(errs, fmt.Errorf("%s%s: no such key; \"mailbox.toml\" lists all there are", prefix, k))
			continue
		}
		if sub, ok := table[k].(map[string]any); ok && f.Kind() == reflect.Struct {
			errs = append(errs, decodeTable(prefix+k+".", sub, f)...)
			continue
		}
		if err := decodeValue(table[k], f); err != nil {
			errs = append(errs, fmt.Errorf("%s%s: %w", prefix, k, err))
		}
	}
	return errs
}

func decodeValue(v any, into reflect.Value) error {
	switch p := into.Addr().Interface().(type) {
	case *string:
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("%v is not a string in quotes", v)
		}
		*p = s
	case *bool:
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("%v is neither true nor false", v)
		}
		*p = b
	case *int:
		n, ok := v.(int64)
		if !ok || n != int64(int(n)) {
			return fmt.Errorf("%v is not a whole number", v)
		}
		*p = int(n)
	case *int64:
		n, err := parseSize(v)
		if err != nil {
			return err
		}
		*p = n
	case *time.Duration:
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("%v is not a duration such as \"5m\" or \"30s\"", v)
		}
		*p = d
	default:
		if into.Kind() == reflect.Slice {
			return decodeList(v, into)
		}
		return fmt.Errorf("is a section: [%v]", v)
	}
	return nil
}

// decodeList sets a list of values, or of the tables of "[[section]]".
func decodeList(v any, into reflect.Value) error {
	list, ok := v.([]any)
	tables, isTables := v.([]map[string]any)
	if !ok && !isTables {
		return fmt.Errorf("%v is not a list such as [\"a\", \"b\"]", v)
	}
	into.Set(reflect.MakeSlice(into.Type(), len(list)+len(tables), len(list)+len(tables)))
	var errs []error
	for i := range list {
		errs = append(errs, decodeValue(list[i], into.Index(i)))
	}
	for i := range tables {
		errs = append(errs, decodeTable(fmt.Sprintf("entry %d: ", i+1), tables[i], into.Index(i))...)
	}
	return errors.Join(errs...)
}

// sizeUnits are the units of sizes, the longest names first.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1}}

// parseSize reads "50MiB" or a number of octets.
func parseSize(v any) (int64, error) {
	if n, ok := v.(int64); ok && n >= 0 {
		return n, nil
	}
	s, _ := v.(string)
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || n < 0 || n*float64(u.bytes) > math.MaxInt64/2 {
			break
		}
		return int64(n * float64(u.bytes)), nil
	}
	return 0, fmt.Errorf("%v is not a size such as \"50MiB\"", v)
}

// formatSize writes a size as parseSize reads it, rounded for people.
func formatSize(n int64) string {
	for _, u := range sizeUnits[:3] {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// A lineError is an error with a place in a file.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return e.text }

// inFile puts file and line in front of every error, on a line each.
func inFile(file, text string, err error) error {
	var list []string
	for _, e := range flatten(err) {
		line := 0
		var le *lineError
		if errors.As(e, &le) {
			line = le.line
		} else if key, _, ok := strings.Cut(e.Error(), ":"); ok {
			line = lineOf(text, key)
		}
		if line > 0 {
			list = append(list, fmt.Sprintf("%s:%d: %s", file, line, e))
		} else {
			list = append(list, fmt.Sprintf("%s: %s", file, e))
		}
	}
	return errors.New(strings.Join(list, "\n"))
}

// flatten takes apart what errors.Join put together.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// lineOf finds the line at which a key such as "mta.listen" is set, or 0.
func lineOf(text, key string) int {
	section := ""
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = strings.Trim(strings.SplitN(line, "]", 2)[0], "[ ") + "."
			if section == key+"." {
				return i + 1
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if full := section + strings.TrimSpace(name); ok && full == key {
			return i + 1
		}
	}
	return 0
}
