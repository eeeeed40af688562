// Ctrl-C.
#ifndef TAMIS_CLI_INTERRUPT_H_
#define TAMIS_CLI_INTERRUPT_H_

namespace tamis::cli {

/// From now on the first Ctrl-C is noted, and a second ends the process.
void CatchInterrupt();
bool Interrupted();

}  // namespace tamis::cli

#endif  // TAMIS_CLI_INTERRUPT_H_
