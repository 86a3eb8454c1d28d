// Package strictjson reads the JSON bodies of the HTTP APIs, and refuses whatever two readers
// could understand in two ways.
//
//	body ──Parse──▶ Object ──String, Int, Text, Each …──▶ typed fields
//	       syntax            every fault is collected ──▶ Err
//
// [Parse] refuses, with a [SyntaxError], what is no single JSON object in UTF-8: broken syntax,
// names given twice, lone surrogates, more than one value, nesting beyond [MaxDepth], NUL. Then
// each member is read into its type; what is wrong (another type, a missing or an unknown
// member) is kept, so that [Object.Err] reports all faults at once, by JSON pointer.
//
// Numbers are never read through a float: an integer is exact, or refused.
package strictjson
