package change

// The console of the process.
const terminalIn, terminalOut = "CONIN$", "CONOUT$"
