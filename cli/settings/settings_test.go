package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func flagsOf() *pflag.FlagSet {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringArray("listen", []string{"127.0.0.1:0"}, "")
	f.Int("slots", 2, "")
	f.Duration("keep-results", time.Hour, "")
	f.String("name", "", "")
	return f
}

// near finds flags that begin with a name, or with which it begins.
func near(flags *pflag.FlagSet, name string) (out []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, name) || strings.HasPrefix(name, f.Name) {
			out = append(out, f.Name)
		}
	})
	return out
}

// TestOrder: flags take precedence over the environment, that over the user's file, and that over what is remembered.
func TestOrder(t *testing.T) {
	state, config := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", config)
	if err := Remember(state, map[string][]string{
		"listen":       {"a:1", "b:2"},
		"slots":        {"3"},
		"name":         {"old"},
		"keep-results": {"2h0m0s"},
	}, flagsOf()); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(config, "dtpnode"), 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(config, "dtpnode", "config.toml")
	if err := os.WriteFile(mine, []byte("slots = 4\nname = \"mine\"\nkeep-results = \"3h\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DTPNODE_KEEP_RESULTS", "4h")
	flags := flagsOf()
	if err := flags.Parse([]string{"--name=given"}); err != nil {
		t.Fatal(err)
	}
	sources, err := Sources(state, flags, near)
	if err != nil {
		t.Fatal(err)
	}
	from, err := Apply(sources, flags)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	flags.VisitAll(func(f *pflag.Flag) { got[f.Name] = strings.Join(Values(f), " ") })
	if diff := cmp.Diff(map[string]string{
		"listen":       "a:1 b:2",
		"slots":        "4",
		"keep-results": "4h0m0s",
		"name":         "given",
	}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{
		"listen":       File(state),
		"slots":        mine,
		"keep-results": "the environment",
	}, from); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if flags.Changed("slots") {
		t.Error("a setting counts as given: it would be remembered")
	}
}

// TestRemember: a setting stays until it is removed.
func TestRemember(t *testing.T) {
	state := t.TempDir()
	for _, change := range []map[string][]string{{"slots": {"3"}, "listen": {"x:1"}}, {"slots": nil, "name": {"n"}}} {
		if err := Remember(state, change, flagsOf()); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Read(File(state), flagsOf(), near)
	if diff := cmp.Diff(map[string][]string{"listen": {"x:1"}, "name": {"n"}}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"slot = 3":             `line 1: there is no setting "slot"; did you mean slots?`,
		"slots = ":             "could not read settings",
		"slots = [1, 2]":       "not a list",
		"slots = {a = 1}":      "cannot be",
		"slots = \"many\"":     "could not use slots many from",
		"keep-results = \"x\"": "want a time such as",
	} {
		state := t.TempDir()
		if err := os.WriteFile(File(state), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := flagsOf()
		sources, err := Sources(state, flags, near)
		if err == nil {
			_, err = Apply(sources, flags)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), File(state)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
