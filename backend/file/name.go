package file

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// folderName is the folder of the stream or group called name. Different
// names have different folders, also where the file system ignores case or
// normalises Unicode: small letters, digits, '-', '_' and '.' stand for
// themselves, a capital letter is '!' and the small one (as in Go's module
// cache), and every other byte is '%' and two hexadecimal digits. So are a
// leading dot and the first letter of the two names that the directory needs
// for itself. A name that gets too long for a file system is cut and marked
// with '~' and its SHA-256; the name itself is in the stream's meta.
func folderName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case i == 0 && (c == '.' || name == "groups" || name == "units"):
			escapeByte(&b, c)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte('!')
			b.WriteByte(c - 'A' + 'a')
		default:
			escapeByte(&b, c)
		}
	}
	s := b.String()
	if len(s) <= 200 {
		return s
	}
	sum := sha256.Sum256([]byte(name))
	return s[:120] + "~" + hex.EncodeToString(sum[:])
}

func escapeByte(b *strings.Builder, c byte) {
	const digits = "0123456789abcdef"
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}

// unfolder is the name whose folder is called folder. It is false for a folder
// that no name has, and for one whose name was cut.
func unfolder(folder string) (string, bool) {
	b := make([]byte, 0, len(folder))
	for i := 0; i < len(folder); i++ {
		switch c := folder[i]; {
		case c == '!' && i+1 < len(folder) && 'a' <= folder[i+1] && folder[i+1] <= 'z':
			b = append(b, folder[i+1]-'a'+'A')
			i++
		case c == '%' && i+2 < len(folder):
			n, err := hex.DecodeString(folder[i+1 : i+3])
			if err != nil {
				return "", false
			}
			b = append(b, n...)
			i += 2
		default:
			b = append(b, c)
		}
	}
	name := string(b)
	return name, folderName(name) == folder
}

// isCut reports whether a folder's name was made from one that is too long.
func isCut(folder string) bool { return strings.Contains(folder, "~") }
