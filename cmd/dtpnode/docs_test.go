package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testName matches what documents name of tests, with or without a package.
var testName = regexp.MustCompile("`(?:\\w+\\.)?((?:Test|Fuzz)[A-Z]\\w+)`")

// TestDocumentsNameTests: each test that a document says to hold something is there.
func TestDocumentsNameTests(t *testing.T) {
	t.Chdir("../..")
	there := map[string]bool{}
	begins := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range begins.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{"docs/proof.md", "ARCHITECTURE.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		named := testName.FindAllSubmatch(text, -1)
		if len(named) < 10 {
			t.Errorf("%s names %d tests", doc, len(named))
		}
		for _, m := range named {
			if !there[string(m[1])] {
				t.Errorf("%s names %s, and there is none", doc, m[1])
			}
		}
	}
}
