package exec

// Leading is what a Finder is too whose jobs can be led on hosts that lack what their code runs in, where their
// requests allow it: leading takes merging, which needs no code of the user's then.
type Leading interface {
	// Leads is a runtime that describes such jobs for a version of the kind, and makes programs of their descriptions that
	// only merge: their Session does nothing, they try nothing, and their generations take no packet. What cannot be led
	// so is ErrNotLed.
	Leads(version string) Runtime
}

// LacksError says that a host has not, and cannot make, what the code of a job runs in, which says nothing of others.
type LacksError struct{ Err error }

func (e *LacksError) Error() string { return e.Err.Error() }

// Unwrap is the reason.
func (e *LacksError) Unwrap() error { return e.Err }
