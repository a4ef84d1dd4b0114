package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/rootexec"
)

// TestNoInputIsOverwritten: whatever a job reads is no file to write its output to.
func TestNoInputIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	req := api.JobRequest{
		Files:      []api.InputFile{{URL: at("data.root")}},
		Friends:    []api.FriendRef{{Files: []api.InputFile{{URL: at("friend.root")}}}},
		EntryLists: []api.ObjectRef{{URL: at("list.root"), Object: "l"}},
	}
	spec := rootexec.Spec{
		Selector: at("S.C"), Includes: []string{at("S.h")}, Sources: []string{at("more.cxx")},
		Libraries: []string{at("l.so")}, Data: []string{at("text.txt")},
		Inputs:   []rootexec.InputFile{{Path: at("input.root")}},
		Packages: []rootexec.PackageSpec{{File: at("p.par")}},
	}
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if sparesInputs(filepath.Join(dir, e.Name()), req, spec) == nil {
			t.Errorf("%s may be overwritten", e.Name())
		}
	}
	for _, name := range []string{at("out.root"), filepath.Join(dir, "new.root"), ""} {
		if err := sparesInputs(name, req, spec); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
