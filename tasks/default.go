package tasks

// Default sets a setting that was left at zero, or below it, to its default: zero values of a core's Config take the
// defaults, so that a caller names only what it wants otherwise.
func Default[T ~int | ~int64 | ~float64](setting *T, value T) {
	if *setting <= 0 {
		*setting = value
	}
}
