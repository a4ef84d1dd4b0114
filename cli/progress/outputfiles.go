package progress

import (
	"fmt"
	"io"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
)

// Bounds of what a summary names of the files that a program has written.
const (
	mostFiles = 20
	mostTrees = 4 // of each file
	mostLeft  = 5
)

// outputFiles prints which files the program has written beside its output, and which it left where it ran.
func outputFiles(w io.Writer, st api.JobStatus) {
	for i, f := range st.OutputFiles {
		if i == mostFiles {
			fmt.Fprintf(w, "  and %s: dtpnode status %s --output json\n",
				Plural(len(st.OutputFiles)-mostFiles, "other file"), Short(st.ID))
			break
		}
		fmt.Fprintf(w, "File: %s\n", outputFile(f, st.EndedIn != nil))
	}
	if len(st.OutputFiles) > 0 && (st.EndedIn != nil && st.Output == "" || st.OutputFiles[0].Path == "") {
		fmt.Fprintf(w, "  (dtpnode get %s fetches them with the output)\n", Short(st.ID))
	}
	left(w, st)
}

// outputFile describes one file. Where Terminate ran on another host its path there says nothing here.
func outputFile(f api.OutputFile, elsewhere bool) string {
	where := f.Path
	if where == "" || elsewhere {
		where = f.Name
	}
	about := []string{strings.TrimSpace(Bytes(float64(f.Bytes)))}
	for i, t := range f.Trees {
		if i == mostTrees {
			about = append(about, "...")
			break
		}
		about = append(about, fmt.Sprintf("%s: %s entries", line(t.Name), Count(t.Entries)))
	}
	if f.Dataset != "" {
		set := "of data set " + line(f.Dataset)
		if f.Registered {
			set += ", which is registered"
		}
		about = append(about, set)
	}
	if f.Note != "" {
		about = append(about, line(f.Note))
	}
	return fmt.Sprintf("%s (%s)", line(where), strings.Join(about, ", "))
}

// left prints which files processes have left that are no output, and what to do to get such a file.
func left(w io.Writer, st api.JobStatus) {
	if len(st.Left) == 0 {
		return
	}
	var names []string
	more := false
	for _, l := range st.Left {
		if l.Name == "" || len(names) == mostLeft {
			more = true
			continue
		}
		times := ""
		if l.Times > 1 {
			times = fmt.Sprintf(" (in %s processes)", Count(l.Times))
		}
		names = append(names, line(l.Name)+times)
	}
	if more {
		names = append(names, "others that are not named")
	}
	fmt.Fprintf(w, "Not kept, since only ROOT files are merged, 20,000 of a process at most: %s, which the selector has "+
		"left in the folders of its processes\n", strings.Join(names, ", "))
	fmt.Fprintln(w, "  next: add what must be kept to fOutput, or write it to a TFile; Terminate may write any file")
}
