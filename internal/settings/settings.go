// Package settings finds the settings of a host's daemon where its user or its administrator has left them: what a
// daemon was started with before, files, the environment. The flags of the commands name them and win over all.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// system is the administrator's file.
const system = "/etc/dtpnode.toml"

// Source is one place that has settings, by the names of the flags. A setting has several values where its flag may be
// repeated.
type Source struct {
	Name   string // as the user knows it: a file's path, or the environment
	Values map[string][]string
}

// File is where a daemon remembers its settings, in its state folder: TOML, a key for each flag without its dashes.
//
//	listen = ["192.0.2.7:4001"]
//	slots = 16
func File(state string) string { return filepath.Join(state, "config.toml") }

// Sources are all there are, the weakest first: what the daemon in a state folder remembers, /etc/dtpnode.toml, the
// user's config.toml in $XDG_CONFIG_HOME/dtpnode, and the environment, where --keep-bytes is DTPNODE_KEEP_BYTES.
// Only settings that flags has are known; a file with others is an error that names it.
func Sources(state string, flags *pflag.FlagSet) ([]Source, error) {
	files := []string{File(state), system}
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, "dtpnode", "config.toml"))
	}
	var out []Source
	for _, path := range files {
		values, err := Read(path, flags)
		if err != nil {
			return nil, err
		}
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
		out = append(out, Source{"the environment", env})
	}
	return out, nil
}

// Variable is the environment's name of a setting.
func Variable(flag string) string {
	return "DTPNODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Read reads a file of settings; one that is not there has none.
func Read(path string, flags *pflag.FlagSet) (map[string][]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read settings: %w", err)
	}
	var raw map[string]any
	if err := toml.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("could not read settings from %s: %w", path, err)
	}
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		f := flags.Lookup(name)
		if f == nil {
			return nil, fmt.Errorf("could not use %s: there is no setting %q; see dtpnode config show", path, name)
		}
		values, err := strung(f, raw[name])
		if err != nil {
			return nil, fmt.Errorf("could not use %s: %q: %w", path, name, err)
		}
		out[name] = values
	}
	return out, nil
}

// strung is a value of a file as a flag takes it.
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

// Apply sets the flags that were not given, from the strongest source that has each, and returns where each came from.
func Apply(sources []Source, flags *pflag.FlagSet) (from map[string]string, err error) {
	from = map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) {
		for _, s := range slices.Backward(sources) {
			values, ok := s.Values[f.Name]
			if !ok || f.Changed || err != nil {
				continue
			}
			if why := set(f, values); why != nil {
				err = fmt.Errorf("could not use %s from %s: %w", f.Name, s.Name, why)
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

// Values are those of a flag.
func Values(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// Remember writes settings over those in the state folder's file; nil values take a setting out.
func Remember(state string, changed map[string][]string, flags *pflag.FlagSet) error {
	path := File(state)
	now, err := Read(path, flags)
	if err != nil {
		return err
	}
	if now == nil {
		now = map[string][]string{}
	}
	for name, values := range changed {
		if values == nil {
			delete(now, name)
		} else {
			now[name] = values
		}
	}
	return write(path, now, flags)
}

func write(path string, all map[string][]string, flags *pflag.FlagSet) error {
	raw := map[string]any{}
	for name, values := range all {
		f := flags.Lookup(name)
		_, list := f.Value.(pflag.SliceValue)
		n, err := strconv.ParseInt(values[0], 10, 64)
		switch {
		case list:
			raw[name] = values
		case err == nil && f.Value.Type() == "int":
			raw[name] = n
		default:
			raw[name] = values[0]
		}
	}
	text, err := toml.Marshal(raw)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = os.WriteFile(path+".new", append([]byte("# What this host's daemon is started with: dtpnode config show, dtpnode config set.\n"), text...), 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("could not remember settings in %s: %w", path, err)
	}
	return nil
}
