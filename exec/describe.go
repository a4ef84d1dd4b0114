package exec

import (
	"context"
	"strings"

	"github.com/dtpnode/dtpnode/tasks"
)

// Request is what a user asks of a kind of work on the host of who submits.
type Request struct {
	// Spec is the kind's own, as JSON, and names files of this host by absolute paths.
	Spec []byte
	Dir  string // the user's working folder
	// Earlier is the work of a job whose missing part is to run again, nil for a new job. What Spec does not say is as it
	// was there.
	Earlier *Order
	// Selection is which entries are run, and what is read beside the files (UnpackSelection); nil: all, and nothing. In a
	// retry it is that of the earlier job.
	Selection []byte
	// LeadOnly says that no item of the job will run on this host: what that takes need not be made, if the job can be led
	// without (Leading).
	LeadOnly bool
	// Tell is told what takes its time.
	Tell func(step string)
}

// Description is a program that was made ready where it is submitted.
type Description struct {
	Program Program
	// Work is what other nodes make the program from, but for Ships, which stand in Blobs.
	Work  tasks.Work
	Blobs []Blob
	// Params are named values that the program was given, to show.
	Params []tasks.Param
	// Notes are what the user may not know of the program, and should, a sentence each.
	Notes []string
	// Items is how many items the job runs over if it has no files; 0: it runs over files.
	Items int64
	// LeadOnly says that the program only merges (Leading).
	LeadOnly bool
	// Whole says, in words for the user, why no file of the job may be divided between processes; it is empty if files
	// may be.
	Whole string
}

// Blob is what goes to other nodes for a job.
type Blob struct {
	Name string // by which Prepare fetches it
	Keep bool   // copies of the job's ledger have it on disk, for whoever leads the job on after a loss
	// Key names the content where making it takes time: it is packed once for jobs at the same time. Empty: it is not
	// known.
	Key string
	// Pack makes the content; nil if File has it.
	Pack func() ([]byte, error)
	// File is the path of a file with the content, if that may be too large for memory. It stays where it is as long as
	// the Program is not released.
	File string
	// Foreign says that File is not the runtime's own: its user may write to it, so that others get a copy of it as it is.
	Foreign bool
}

// Order is the work of a job as its description has it, with what is needed to make a program of it.
type Order struct {
	Submitter string // peer id of who has signed it; its code must not run for others who did not send it
	Work      tasks.Work
	// Fetch gets one of Work.Ships by its name, from whoever has it.
	Fetch func(ctx context.Context, name string) ([]byte, error)
	// FetchFile does so for one that may be too large for memory, and returns the path of a file, which stays as long as
	// the program is used and must not be written to.
	FetchFile func(ctx context.Context, name string) (path string, err error)
}

// NeedsText names a job's needs for the user: "ROOT 6.40.00".
func NeedsText(needs []string) string {
	words := make([]string, len(needs))
	for i, n := range needs {
		words[i] = strings.Replace(n, "=", " ", 1)
	}
	return strings.Join(words, ", ")
}

// InfosText names the runtimes of a host for the user.
func InfosText(infos []Info) string {
	if len(infos) == 0 {
		return "none"
	}
	words := make([]string, len(infos))
	for i, info := range infos {
		words[i] = info.String()
	}
	return strings.Join(words, ", ")
}
