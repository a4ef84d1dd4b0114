package jobs

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dtpnode/dtpnode/exec"
	"github.com/dtpnode/dtpnode/node/api"
)

// A program may write files beside its output, such as a skimmed tree. They are merged as the output is, are written to
// the working folder of its last step where that runs, and are kept in the job's result behind the output
// (exec.ReadResult), so that they are wherever the result is.

// outputFilesOf tells of the files that a program has written, and of those that it left.
func outputFilesOf(f exec.Finished) (files []api.OutputFile, left []api.LeftFile) {
	for _, o := range f.Files {
		file := api.OutputFile{
			Name: o.Name, Path: o.Path, Dataset: o.Dataset, Registered: o.Registered, Note: o.Note, Bytes: o.Size,
		}
		for _, t := range o.Trees {
			file.Trees = append(file.Trees, api.TreeEntries(t))
		}
		files = append(files, file)
	}
	for _, l := range f.Left {
		left = append(left, api.LeftFile(l))
	}
	return files, left
}

// readResult returns the size of the output in a result, and the files behind it.
func readResult(f *os.File) (size int64, files []exec.ResultFile, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, nil, fmt.Errorf("could not read a result: %w", err)
	}
	return exec.ReadResult(f, info.Size())
}

// OutputSize is the size of the output in a result, behind which there may be files.
func OutputSize(f *os.File) (int64, error) {
	size, _, err := readResult(f)
	return size, err
}

// takeApart makes of a part of a bundle, which is a result in a folder, the output, which keeps the part's name, and
// the files behind it, each a part of its own.
func takeApart(dir string, part api.Part) ([]api.Part, error) {
	f, err := os.OpenFile(filepath.Join(dir, part.Name), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("could not read a result: %w", err)
	}
	defer f.Close()
	size, files, err := readResult(f)
	if err != nil {
		return nil, err
	}
	parts := []api.Part{part}
	for i, file := range files {
		name := fmt.Sprintf("%s-file-%03d%s", strings.TrimSuffix(part.Name, filepath.Ext(part.Name)), i+1,
			filepath.Ext(file.Name))
		named := exec.ResultFile{Name: name, Offset: file.Offset, Size: file.Size}
		if _, err := exec.PlaceFiles(f, []exec.ResultFile{named}, dir, "", nil); err != nil {
			return nil, err
		}
		parts = append(parts, api.Part{Name: name, Units: part.Units, Entries: part.Entries, File: file.Name})
	}
	return parts, f.Truncate(size)
}

// deliverFiles writes the files of a result whose last step ran on another node to the folder in which it would have
// run here. Where it ran here it has written them itself.
func (r *outputs) deliverFiles(j *Job, in *os.File, out string) error {
	j.mu.Lock()
	elsewhere := j.s.EndedIn != nil || j.s.Status.EndedIn != nil
	j.mu.Unlock()
	if !elsewhere {
		return nil
	}
	_, files, err := readResult(in)
	if err != nil || len(files) == 0 {
		return err
	}
	dir, _ := r.surroundings(j)
	if dir = cmp.Or(j.outputDir(), dir); dir == "" {
		dir = filepath.Dir(out)
	}
	inputs := j.inputs()
	placed, err := exec.PlaceFiles(in, files, dir, j.outputMark(), func(path string) bool {
		return isInput(path, inputs)
	})
	const most = 5 // places that are told
	for i, p := range placed {
		if i < most {
			j.noteOnce(fmt.Sprintf("%s is in %s", filepath.Base(p.Path), p.Path))
		}
		if p.Before != "" {
			j.note(fmt.Sprintf("what was at %s, and no job of this code had written, is %s now", p.Path, p.Before))
		}
	}
	return err
}

// outputDir is the folder that the job's user has named for these files; empty for none.
func (j *Job) outputDir() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.s.Req.OutputDir == "" && j.s.Desc != nil {
		return j.s.Desc.Ask.OutputDir
	}
	return j.s.Req.OutputDir
}

// outputMark is the mark of these files. All that goes into it is signed by the job's submitter, or is its own request.
func (j *Job) outputMark() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if d := j.s.Desc; d != nil {
		return exec.OutputMark(d.Submitter, d.Work.Kind, d.Ask.Title)
	}
	return exec.OutputMark(j.self, j.s.Req.Kind, j.s.Req.Title)
}

// isInput reports whether a path leads to one of a job's inputs.
func isInput(path string, inputs []string) bool {
	there, err := os.Stat(path)
	for _, url := range inputs {
		input := strings.TrimPrefix(url, "file://")
		if path == input {
			return true
		}
		if info, statErr := os.Stat(input); err == nil && statErr == nil && os.SameFile(there, info) {
			return true
		}
	}
	return false
}

// spares are the paths and URLs of what the job reads beside its files, on the node on which it was submitted: its
// code, friends, lists of entries and objects of fInput. Names of output files come from whoever worked.
func (j *Job) spares() (urls []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	urls = slices.Clone(j.s.Req.Spares)
	for _, fr := range j.s.Req.Friends {
		for _, f := range fr.Files {
			urls = append(urls, f.URL)
		}
	}
	for _, l := range j.s.Req.EntryLists {
		urls = append(urls, l.URL)
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// inputs are the paths and URLs of all that the job reads, as far as they are known by now.
func (j *Job) inputs() (urls []string) {
	urls = j.spares()
	_, desc := j.Prepared()
	if desc == nil {
		j.mu.Lock()
		desc = j.s.Desc
		j.mu.Unlock()
	}
	if desc == nil {
		return urls
	}
	for _, f := range desc.Data.Files {
		if f.URL != "" {
			urls = append(urls, f.URL)
		}
	}
	return urls
}
