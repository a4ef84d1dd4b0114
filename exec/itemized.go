package exec

// Itemized is what a Finder implements besides if programs of its kind can run over items: units that are in no file,
// which a program counts itself (Description.Items), or which are appended to an open job by their number, or in blobs
// (Items). Code of other kinds is written for entries of files, and is never given such a packet.
type Itemized interface {
	// TakesItems does nothing: that a Finder has it says what Itemized says.
	TakesItems()
}
