// Package codec holds the lossless NDJSON form of a record: the [Envelope].
//
// One record is one line of JSON, compact, with its fields in a fixed order:
//
//	{"stream":"news","shard":0,"seq":"42","ts":"2026-01-02T03:04:05.678901Z","key":"k1","headers":[["h","v"]],"value":"text"}
//
// Bytes that are valid UTF-8 are a JSON string. Other bytes are base64 in a
// field of another name, key_b64 or value_b64, and a header's become
// {"b64":"…"} in their place. null is no key, no value (a tombstone) or no
// header value, which an empty string is not. Headers are an array of pairs,
// in order, duplicates kept. The sequence number is a string, since 128 bits do
// not fit the numbers of most JSON readers. The timestamp is RFC 3339 in UTC
// with as many digits as it needs, up to nanoseconds; instants outside of the
// years 0 to 9999, which RFC 3339 cannot write, are @ and the seconds since
// 1970.
//
// What is written reads back byte for byte, see [Envelope.Append] and
// [Envelope.Decode].
package codec
