// Package settings finds the settings of a host's daemon where its user or administrator has left them: what a daemon
// was started with before, files, and the environment. The flags of the commands define the names, and take precedence
// over all of these.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// system is the administrator's file.
const system = "/etc/dtpnode.toml"

// Source is one place with settings, by the names of the flags. A setting has several values if its flag may be
// repeated.
type Source struct {
	Name   string // as the user knows it: a file's path, or the environment
	Values map[string][]string
}

// File is the path at which a daemon remembers its settings, in its state folder. It is TOML, with a key for each flag
// without its dashes.
//
//	listen = ["192.0.2.7:4001"]
//	slots = 16
func File(state string) string { return filepath.Join(state, "config.toml") }

// Environment is the name of the source that is not a file.
const Environment = "the environment"

// Sources returns all sources, the weakest first: what the daemon in a state folder remembers, /etc/dtpnode.toml, the
// user's config.toml in $XDG_CONFIG_HOME/dtpnode, and the environment, where --keep-bytes is DTPNODE_KEEP_BYTES. Only
// settings that are among flags are known; near suggests flags for other names. The error names what cannot be used;
// the rest is returned with it.
func Sources(state string, flags *pflag.FlagSet, near Near) (out []Source, err error) {
	files := []string{File(state), system}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "dtpnode", "config.toml"))
	}
	for _, path := range files {
		values, bad := Read(path, flags, near)
		err = errors.Join(err, bad)
		if len(values) > 0 {
			out = append(out, Source{path, values})
		}
	}
	env := map[string][]string{}
	flags.VisitAll(func(f *pflag.Flag) {
		if v := os.Getenv(Variable(f.Name)); v != "" {
			env[f.Name] = []string{v}
			if _, list := f.Value.(pflag.SliceValue); list {
				env[f.Name] = strings.Split(v, ",")
			}
		}
	})
	if len(env) > 0 {
		out = append(out, Source{Environment, env})
	}
	return out, err
}

// Misspelt returns the environment variables that look like settings but are not, each with the settings that may be
// meant.
func Misspelt(flags *pflag.FlagSet, near Near) map[string][]string {
	out := map[string][]string{}
	for _, pair := range os.Environ() {
		variable, _, _ := strings.Cut(pair, "=")
		name, ours := strings.CutPrefix(variable, prefix)
		name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if !ours || name == "state" || name == "cache" || flags.Lookup(name) != nil {
			continue
		}
		for _, flag := range near(flags, name) {
			out[variable] = append(out[variable], Variable(flag))
		}
	}
	return out
}

// Near finds the flags that a misspelt name may stand for. The commands provide it, since they suggest flags by the
// same measure.
type Near func(flags *pflag.FlagSet, name string) []string

// prefix begins the names of settings in the environment.
const prefix = "DTPNODE_"

// Variable is the name of a setting in the environment.
func Variable(flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Read reads a file of settings; a missing file has none. The error names what cannot be used, with its line; the rest
// is returned with it.
func Read(path string, flags *pflag.FlagSet, near Near) (map[string][]string, error) {
	text, raw, err := parse(path)
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		f := flags.Lookup(name)
		if f == nil {
			why := fmt.Sprintf("there is no setting %q", name)
			if names := near(flags, name); len(names) > 0 {
				why += "; did you mean " + strings.Join(names, " or ") + "?"
			}
			err = errors.Join(err, fmt.Errorf("could not use %s: %s", place(path, text, name), why))
			continue
		}
		values, bad := strung(f, raw[name])
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("could not use %s: %q: %w", place(path, text, name), name, bad))
			continue
		}
		out[name] = values
	}
	return out, err
}

// parse reads the keys and values of a file.
func parse(path string) (text []byte, raw map[string]any, err error) {
	text, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("could not read settings: %w", err)
	}
	if err := toml.Unmarshal(text, &raw); err != nil {
		at := path
		var where *toml.DecodeError
		if errors.As(err, &where) {
			line, _ := where.Position()
			at = fmt.Sprintf("%s, line %d", path, line)
		}
		return nil, nil, fmt.Errorf("could not read settings from %s: %w", at, err)
	}
	return text, raw, nil
}

// place is a file and the line on which a key stands, for errors.
func place(path string, text []byte, key string) string {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		name, _, _ := strings.Cut(line, "=")
		if strings.Trim(strings.TrimSpace(name), `"'`) == key || strings.Trim(strings.TrimSpace(line), "[]") == key {
			return fmt.Sprintf("%s, line %d", path, n)
		}
	}
	return path
}

// strung converts a value of a file to what the flag takes.
func strung(f *pflag.Flag, v any) ([]string, error) {
	switch v := v.(type) {
	case []any:
		if _, list := f.Value.(pflag.SliceValue); !list {
			return nil, errors.New("it is one value, not a list")
		}
		out := make([]string, len(v))
		for i, e := range v {
			out[i] = fmt.Sprint(e)
		}
		return out, nil
	case string, bool, int64, float64:
		return []string{fmt.Sprint(v)}, nil
	}
	return nil, fmt.Errorf("it cannot be %v", v)
}

// Invalid is a value that a setting cannot take.
type Invalid struct {
	Setting string
	Values  []string
	Source  string // where the value comes from
	Why     string // what the value should be
}

func (e *Invalid) Error() string {
	source := e.Source
	if source == Environment {
		source = "the environment, " + Variable(e.Setting)
	}
	return fmt.Sprintf("could not use %s %s from %s: %s", e.Setting, Shown(e.Values), source, e.Why)
}

// Shown formats values for errors: in one line, quoted if they are not plain words, and cut if they are long; [] if
// there are none.
func Shown(values []string) string {
	if len(values) == 0 {
		return "[]"
	}
	out := make([]string, len(values))
	for i, v := range values {
		if r := []rune(v); len(r) > 64 {
			v = string(r[:40]) + "…"
		}
		if quoted := strconv.Quote(v); v == "" || quoted != `"`+v+`"` || strings.Contains(v, " ") {
			v = quoted
		}
		out[i] = v
	}
	return strings.Join(out, " ")
}

// Wanted says what a flag of a type takes, after it refused a value with err.
func Wanted(kind string, err error) string {
	if kind == "int64" || kind == "int" {
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Sprintf("a whole number of at most %d", int64(math.MaxInt64))
		}
	}
	switch kind {
	case "int", "int64":
		return "a whole number"
	case "float64":
		return "a number"
	case "duration":
		return "a time such as 30s, 5m or 2h"
	case "bool":
		return "true or false"
	}
	return "a " + kind
}

// Apply sets the flags that were not given from the strongest source that has each, and returns where each came from.
// The error contains an Invalid for each value that a flag refuses.
func Apply(sources []Source, flags *pflag.FlagSet) (from map[string]string, err error) {
	from = map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) {
		for _, s := range slices.Backward(sources) {
			values, ok := s.Values[f.Name]
			if !ok || f.Changed {
				continue
			}
			if bad := set(f, values); bad != nil {
				err = errors.Join(err, &Invalid{f.Name, values, s.Name, "want " + Wanted(f.Value.Type(), bad)})
			}
			from[f.Name] = s.Name
			return
		}
	})
	return from, err
}

// set gives a flag its values without marking it as given.
func set(f *pflag.Flag, values []string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.Replace(values)
	}
	if len(values) != 1 {
		return fmt.Errorf("%d values for one", len(values))
	}
	return f.Value.Set(values[0])
}

// Values returns the values of a flag.
func Values(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// Remember replaces settings in the state folder's file; nil values remove a setting. Lines that are not settings stay.
func Remember(state string, changed map[string][]string, flags *pflag.FlagSet) error {
	path := File(state)
	_, now, err := parse(path)
	if err != nil {
		return err
	}
	if now == nil {
		now = map[string]any{}
	}
	for name, values := range changed {
		if values == nil {
			delete(now, name)
		} else {
			now[name] = typed(flags.Lookup(name), values)
		}
	}
	return write(path, now)
}

// typed converts the values of a setting to what a file has for them.
func typed(f *pflag.Flag, values []string) any {
	if _, list := f.Value.(pflag.SliceValue); list {
		return values
	}
	if n, err := strconv.ParseInt(values[0], 10, 64); err == nil && f.Value.Type() == "int" {
		return n
	}
	return values[0]
}

func write(path string, raw map[string]any) error {
	text, err := toml.Marshal(raw)
	if err == nil {
		err = durable.Write(path, append([]byte("# What this host's daemon is started with: dtpnode config show, dtpnode "+
			"config set.\n"), text...))
	}
	if err != nil {
		return fmt.Errorf("could not remember settings in %s: %w", path, err)
	}
	return nil
}
