//! What operators of an lvs director touch: the ipvsadm rules grammar and listings.
