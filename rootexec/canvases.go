package rootexec

// CanvasFormats are the formats in which canvases can be saved (Spec.Canvases), which are the endings of their files
// too, the usual one first.
var CanvasFormats = []string{"pdf", "png", "svg", "eps", "ps", "tex", "jpg", "gif", "root", "xml", "C", "json"}
