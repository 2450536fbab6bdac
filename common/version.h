#ifndef DF_VERSION_H
#define DF_VERSION_H

#define DF2REDIS_VERSION "0.1.0"

#endif
