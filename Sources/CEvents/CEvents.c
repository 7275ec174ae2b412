/* Empty: SwiftPM builds a target only if it has a source file. CEvents.h is all of it. */
#include "CEvents.h"
