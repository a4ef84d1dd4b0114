package exec

// Words are what users are told of jobs of a kind.
type Words struct {
	Units string // what their units are called, in the plural, such as "items"
	Last  string // the user's last step, after the last merge, such as "Terminate"; empty where there is none
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
