package rootexec

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocNamesAllFiles: the page of the package says of each of its files, and of each of the child's, what it is
// about.
func TestDocNamesAllFiles(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`[\w.]+`).FindAllString(string(doc), -1)
	for _, pattern := range []string{"*.go", "child/*.cc", "child/*.h"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			name := filepath.Base(file)
			if strings.HasSuffix(name, "_test.go") || name == "doc.go" {
				continue
			}
			if filepath.Dir(file) == "child" {
				name = strings.TrimSuffix(name, filepath.Ext(name))
			}
			if !slices.Contains(words, name) {
				t.Errorf("doc.go does not say what %s is", file)
			}
		}
	}
}

// TestKeptTreesAreOneText: the child and the library of sessions are compiled apart, and each has this header.
func TestKeptTreesAreOneText(t *testing.T) {
	child, err := os.ReadFile(filepath.Join("child", "kepttree.h"))
	if err != nil {
		t.Fatal(err)
	}
	session, err := os.ReadFile(filepath.Join("proof", "src", "kepttree.h"))
	if err != nil || string(session) != string(child) {
		t.Errorf("child/kepttree.h and proof/src/kepttree.h differ: copy what has changed (%v)", err)
	}
}
