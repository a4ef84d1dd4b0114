package exec

// Itemized is what a Finder implements besides if programs of its kind can run over items that are appended to an open
// job: units that are in no file, given by their number, or in blobs (Items). Code of other kinds is given items only
// if its own description counts them (Description.Items).
type Itemized interface {
	// TakesItems does nothing: that a Finder has it says what Itemized says.
	TakesItems()
}
