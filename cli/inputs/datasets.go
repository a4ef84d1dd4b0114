package inputs

import (
	"fmt"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// DatasetRef is a dataset that is to be run over, in the words that PROOF had: NAME, with the tree as NAME#TREE, and
// with a list of entries as NAME<<FILE:LIST or NAME?enl=FILE:LIST.
type DatasetRef struct {
	Name string
	Tree string // in place of those that were registered; empty: those
	List string // of entries, as of --entry-list; empty: all
}

// Datasets reads the values of --dataset, in each of which names are divided by "," or "|": the datasets follow each
// other in one chain.
func Datasets(texts []string) (refs []DatasetRef, err error) {
	for _, text := range texts {
		for _, one := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '|' }) {
			var ref DatasetRef
			name, list, found := strings.Cut(strings.TrimSpace(one), "<<")
			if !found {
				name, list, found = strings.Cut(name, "?enl=")
			}
			ref.List = strings.TrimSpace(list)
			ref.Name, ref.Tree, _ = strings.Cut(strings.TrimSpace(name), "#")
			ref.Tree = strings.Trim(ref.Tree, "/")
			if ref.Name == "" || found && ref.List == "" {
				return nil, fmt.Errorf("could not read --dataset %q: want NAME, NAME#TREE or NAME<<FILE:LIST, several with commas",
					text)
			}
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

// FilesOf are the files of a dataset as a job reads them. Those that are not on this host are read where they are.
func FilesOf(set api.Dataset, tree string) (files []api.InputFile) {
	for _, f := range set.Files {
		in := api.InputFile{URL: f.URL, Part: f.Part}
		if tree != "" {
			in.Part = tree
		}
		if !strings.Contains(f.URL, "://") && !isFile(f.URL) {
			in.Unseen = true
		}
		files = append(files, in)
	}
	return files
}

// Once is the error for files that are named twice, as by two datasets, unless duplicates is true.
func Once(files []api.InputFile, tree string, duplicates bool) error {
	e := expansion{tree: tree, files: files}
	return e.problem(duplicates)
}
