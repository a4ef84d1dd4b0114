package exec

import (
	"path/filepath"
	"strings"
)

// Words are what users are told of jobs of a kind.
type Words struct {
	Units string // what their units are called, in the plural, such as "items"
	Last  string // the user's last step, after the last merge, such as "Terminate"; empty where there is none
	Named bool   // Users give the jobs their titles, which for others are the path of the selector or a drawing.
}

// Title is what users see of the title that a job was submitted with: a selector's file without its folders, and all of
// a drawing ("draw px/py") or of a name that its user gave, since slashes in these part no folders.
func (w Words) Title(given string) string {
	word, _, some := strings.Cut(given, " ")
	if w.Named || some && (word == "draw" || word == "count") {
		return given
	}
	return filepath.Base(given)
}

// Worded is what a Finder is besides whose jobs have words of their own. Those of others have events and Terminate.
type Worded interface {
	Words() Words
}

// WordsOf are the words of the jobs of a finder, which may be nil where their kind is not known.
func WordsOf(f Finder) Words {
	if w, ok := f.(Worded); ok {
		return w.Words()
	}
	return Words{Units: "events", Last: "Terminate"}
}
