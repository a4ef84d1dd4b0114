package inputs

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtpnode/dtpnode/node/api"
)

func TestObjectsInFiles(t *testing.T) {
	dir := tree(t, map[string]string{"lists.root": "", "a:b.root": "", "sub/x.root": ""})
	at := func(name string) string { return filepath.Join(dir, name) }
	for text, want := range map[string]struct {
		ref   api.ObjectRef
		named bool
	}{
		"lists.root:chain":                  {api.ObjectRef{URL: at("lists.root"), Object: "chain"}, true},
		"lists.root":                        {api.ObjectRef{URL: at("lists.root")}, false},
		"a:b.root":                          {api.ObjectRef{URL: at("a:b.root")}, false},
		"a:b.root:c":                        {api.ObjectRef{URL: at("a:b.root"), Object: "c"}, true},
		"none.root:chain":                   {},
		"root://h//f.root:c":                {api.ObjectRef{URL: "root://h//f.root", Object: "c"}, true},
		"root://h:1094//f.root":             {api.ObjectRef{URL: "root://h:1094//f.root"}, false},
		"file://" + at("lists.root") + ":c": {api.ObjectRef{URL: at("lists.root"), Object: "c"}, true},
	} {
		ref, named, err := Object(text)
		if err != nil || named != want.named || ref != want.ref && (named || want.ref.URL != "") {
			t.Errorf("%s is %+v, %v, %v, want %+v", text, ref, named, err, want)
		}
	}
}

func TestFriends(t *testing.T) {
	dir := tree(t, map[string]string{"f0.root": "", "f1.root": ""})
	file := func(name, part string) api.InputFile { return api.InputFile{URL: filepath.Join(dir, name), Part: part} }
	for name, c := range map[string]struct {
		texts []string
		want  []api.FriendRef
	}{
		"a tree": {[]string{"T=f0.root"}, []api.FriendRef{{Part: "T", Files: []api.InputFile{file("f0.root", "")}}}},
		"several files": {[]string{"T=f*.root"},
			[]api.FriendRef{{Part: "T", Files: []api.InputFile{file("f0.root", ""), file("f1.root", "")}}}},
		"in two values": {[]string{"T=f1.root", "T=f0.root"},
			[]api.FriendRef{{Part: "T", Files: []api.InputFile{file("f1.root", ""), file("f0.root", "")}}}},
		"an alias and an index": {[]string{"fr:d/T[run, event*2]=f0.root/U"}, []api.FriendRef{{
			Alias: "fr", Part: "d/T", Key: []string{"run", "event*2"}, Files: []api.InputFile{file("f0.root", "U")},
		}}},
		"an index by a comparison": {[]string{"T[a==1]=f0.root"},
			[]api.FriendRef{{Part: "T", Key: []string{"a==1"}, Files: []api.InputFile{file("f0.root", "")}}}},
		"a glob with brackets": {[]string{"T=f[01].root"},
			[]api.FriendRef{{Part: "T", Files: []api.InputFile{file("f0.root", ""), file("f1.root", "")}}}},
		"a glob, an alias and an index": {[]string{"fr:T[a[0],b[i[1]]]=f[1-9].root?#U"}, []api.FriendRef{{
			Alias: "fr", Part: "T", Key: []string{"a[0]", "b[i[1]]"}, Files: []api.InputFile{file("f1.root", "U")},
		}}},
		"no tree":      {[]string{"=f0.root"}, nil},
		"no files":     {[]string{"T="}, nil},
		"no sign":      {[]string{"f0.root"}, nil},
		"three keys":   {[]string{"T[a,b,c]=f0.root"}, nil},
		"an empty key": {[]string{"T[a,]=f0.root"}, nil},
		"an open key":  {[]string{"T[a=f0.root"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Friends(c.texts)
			if (err != nil) != (c.want == nil) {
				t.Fatalf("%v gives %+v, %v", c.texts, got, err)
			}
			if diff := cmp.Diff(c.want, got); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDatasets(t *testing.T) {
	for text, want := range map[string][]DatasetRef{
		"a":                         {{Name: "a"}},
		"/g/u/a#dir/T":              {{Name: "/g/u/a", Tree: "dir/T"}},
		"a,b|c":                     {{Name: "a"}, {Name: "b"}, {Name: "c"}},
		"a<<f.root:el|b?enl=g.root": {{Name: "a", List: "f.root:el"}, {Name: "b", List: "g.root"}},
		"a#T<<f.root":               {{Name: "a", Tree: "T", List: "f.root"}},
		"#T":                        nil,
		"a<<":                       nil,
	} {
		got, err := Datasets([]string{text})
		if (err != nil) != (want == nil) {
			t.Errorf("%s gives %+v, %v", text, got, err)
		} else if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}
