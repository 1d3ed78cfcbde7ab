//go:build tools

// Pins grpcurl: the tests build this version of it, with the checksums of go.sum.
package tools

import _ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
